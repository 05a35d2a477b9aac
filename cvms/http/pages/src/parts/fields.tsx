export interface Field {
  name: string;
  label: string;
  value: string;
  kind?: "text" | "number";
  options?: [string, string][];
  min?: number;
  max?: number;
  maxLength?: number;
  optional?: boolean;
  inputMode?: "decimal" | "numeric";
  /** What the browser may fill in; by default nothing. */
  autocomplete?: "one-time-code";
}

/** One field of a form. */
export function Input({ field, value, change }: { field: Field; value: string; change: (value: string) => void }) {
  const { name, label, kind = "text", options, min, max, maxLength, optional, inputMode, autocomplete = "off" } = field;
  const changed = (event: Event) => change((event.currentTarget as HTMLInputElement).value);
  return (
    <label>
      {label}
      {options
        ? <select name={name} value={value} onChange={changed}>
            {options.map(([each, text]) => <option key={each} value={each}>{text}</option>)}
          </select>
        : <input name={name} type={kind as "text"} value={value} required={!optional} min={min} max={max} maxLength={maxLength}
            inputMode={inputMode} autocomplete={autocomplete} onInput={changed} />}
    </label>
  );
}
