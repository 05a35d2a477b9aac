export { Client } from "./client.js";
export {
  StreamCursors,
  StreamDesynchronized,
  type Event,
  type Snapshot,
  type StreamMessage,
  type Topic,
} from "./cursors.js";
export * from "./errors.js";
export { Stream } from "./stream.js";
export type * from "./types.js";
export type { paths } from "./openapi.js";
export type { Amount, CodeOption, SignersOption } from "./signing.js";
export type { ClientOptions, HistoryOptions, StatementOptions } from "./queries.js";
export {
  keypairWallet,
  standardWallet,
  type SignedText,
  type StandardWalletOptions,
  type Wallet,
} from "./wallet.js";
