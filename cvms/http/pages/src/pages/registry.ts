import type { ComponentType } from "preact";

import { Alerts } from "./alerts";
import { Approvals } from "./approvals";
import { Audit } from "./audit";
import { Deliveries } from "./deliveries";
import { Logs } from "./logs";
import { Overview } from "./overview";
import { Programs } from "./programs";
import { Reconciliation } from "./reconciliation";
import { Runbooks } from "./runbooks";
import { Settings } from "./settings";
import { Submissions } from "./submissions";
import { Vaults } from "./vaults";

interface PageEntry {
  name: string;
  title: string;
  Page: ComponentType<{ rest: string; query: URLSearchParams }>;
}

export const PAGES: PageEntry[] = [
  { name: "overview", title: "Overview", Page: Overview },
  { name: "alerts", title: "Alerts", Page: Alerts },
  { name: "vaults", title: "Vaults", Page: Vaults },
  { name: "submissions", title: "Submissions", Page: Submissions },
  { name: "reconciliation", title: "Reconciliation", Page: Reconciliation },
  { name: "deliveries", title: "Deliveries", Page: Deliveries },
  { name: "approvals", title: "Approvals", Page: Approvals },
  { name: "programs", title: "Programs and governance", Page: Programs },
  { name: "audit", title: "Audit", Page: Audit },
  { name: "settings", title: "Settings", Page: Settings },
  { name: "logs", title: "Logs", Page: Logs },
  { name: "runbooks", title: "Runbooks", Page: Runbooks },
];
