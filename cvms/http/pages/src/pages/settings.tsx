import { useState } from "preact/hooks";

import { useResource } from "../api/hooks";
import type { Setting } from "../api/types";
import { valueText } from "../parts/format";
import { Badge, Loaded, Table } from "../parts/shown";

/** What this process was told, without what is secret. */
export function Settings() {
  const settings = useResource<{ settings: Setting[] }>("api/admin/settings");
  const [wanted, setWanted] = useState("");
  const [changedOnly, setChangedOnly] = useState(false);
  return (
    <>
      <p>They are in force in the process that answers. A change needs a restart of each replica.</p>
      <form class="filters" role="search" aria-label="Which settings" onSubmit={(event) => event.preventDefault()}>
        <label>Name contains<input name="name" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} /></label>
        <label class="check"><input type="checkbox" checked={changedOnly} onChange={(event) => setChangedOnly(event.currentTarget.checked)} />only what differs from the default</label>
      </form>
      <Loaded from={settings}>
        {(data) => (
          <Table caption="Settings" keyOf={(each) => each.name} empty="No setting is so."
            rows={data.settings.filter((each) => each.name.includes(wanted.toUpperCase()) && (!changedOnly || differs(each)))}
            columns={[
              { name: "Setting", of: (each) => <code>{each.name}</code> },
              { name: "Value", of: (each) => (each.secret ? <Badge text={each.set ? "secret, set" : "secret, not set"} tone="plain" /> : <code class="details">{valueText(each.value)}</code>) },
              { name: "Default", of: (each) => (each.secret ? "" : <code class="details">{valueText(each.default)}</code>) },
            ]} />
        )}
      </Loaded>
    </>
  );
}

function differs({ secret, set, value, default: usual }: Setting): boolean {
  return secret ? set === true : valueText(value) !== valueText(usual);
}
