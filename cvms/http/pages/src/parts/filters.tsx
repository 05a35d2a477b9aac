import { useState } from "preact/hooks";

export interface Filter {
  name: string;
  label: string;
  /** Without options it is a text. */
  options?: [string, string][];
}

interface FiltersProps {
  label: string;
  filters: Filter[];
  values: Record<string, string>;
  apply: (values: Record<string, string>) => void;
}

/** A form of filters, which takes effect when it is sent. */
export function Filters({ label, filters, values, apply }: FiltersProps) {
  const [draft, setDraft] = useState(values);
  const change = (name: string) => (event: Event) => {
    const { value } = event.currentTarget as HTMLInputElement | HTMLSelectElement;
    setDraft({ ...draft, [name]: value });
  };
  const send = (event: Event) => {
    event.preventDefault();
    apply(Object.fromEntries(Object.entries(draft).map(([name, value]) => [name, value.trim()])));
  };
  return (
    <form class="filters" role="search" aria-label={label} onSubmit={send}>
      {filters.map(({ name, label: text, options }) => (
        <label key={name}>
          {text}
          {options
            ? <select name={name} value={draft[name] ?? ""} onChange={change(name)}>
                {options.map(([value, shown]) => <option key={value} value={value}>{shown}</option>)}
              </select>
            : <input name={name} value={draft[name] ?? ""} onInput={change(name)} autocomplete="off" spellcheck={false} />}
        </label>
      ))}
      <button type="submit">Show</button>
    </form>
  );
}
