declare module "vault:instructions" {
  /** The vault program's instructions, of its IDL, by their discriminators in hexadecimal. */
  const instructions: Record<
    string,
    { name: string; accounts: string[]; args: [name: string, type: unknown][] } | undefined
  >;
  export default instructions;
}
