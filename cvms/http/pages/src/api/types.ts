import type { Amount } from "./exact_json";
import type { Role } from "./session";

export interface Component {
  status: string;
  kind: string;
  detail: string | null;
}

export interface Check {
  ok: boolean;
  kind: string;
  detail: string;
  completed_at: string | null;
}

export interface Overview {
  at: string;
  version: string;
  revision: string | null;
  slot: number | null;
  chain_slot: number | null;
  lag_seconds: number | null;
  total_value_locked: Amount | null;
  active_vaults: number | null;
  components: Record<string, Component>;
  checks: Record<string, Check>;
  warnings: Record<string, string>;
  operator: { address: string; lamports: Amount | null; minimum_lamports: Amount; pays: boolean };
  alerts: Record<Severity, number>;
  submissions: Record<string, number>;
  endpoints: Endpoint[];
  instances: Instance[];
}

export interface Endpoint {
  host: string;
  state: "up" | "failing" | "down";
  failures: number;
  failures_before_down: number;
  slot: number | null;
  latency_seconds: number | null;
}

export interface Instance {
  instance: string;
  host: string;
  version: string;
  leader: boolean;
  started_at: string;
  seen_at: string;
  ready: boolean;
}

export interface Charts {
  step_seconds: number;
  points: ChartPoint[];
}

export interface ChartPoint {
  at: string;
  deposits: Amount | null;
  withdrawals: Amount | null;
  total_value_locked: Amount | null;
  confirmation_seconds_p95: number | null;
}

export interface Vault {
  owner: string;
  state: string;
  balance: Amount;
  available: Amount;
  locked: Amount;
  timelocked: Amount;
  yield: Amount;
  slot: number;
  updated_at: string | null;
}

export interface VaultDetail extends Vault {
  token_account: string | null;
  comparison: {
    slot: number;
    equal: boolean;
    conclusive: boolean;
    fields: { field: string; equal: boolean; database: unknown; chain: unknown }[];
  };
}

export interface Movement {
  id: number | null;
  kind: string;
  amount: Amount;
  balance_after: Amount | null;
  slot: number;
  block_time: string | null;
  signature: string;
  commitment: string;
}

export interface Submission {
  id: string;
  signature: string;
  kind: string;
  owner: string;
  state: string;
  amount: Amount | null;
  error: unknown;
  slot: number | null;
  seen_slot: number | null;
  since_slot: number;
  last_valid_block_height: number;
  signed_at: string;
  updated_at: string;
  age: number;
}

export type Outcome = "finalized" | "failed" | "expired";

export interface Evidence {
  submission: Submission;
  endpoints: {
    host: string;
    error: string | null;
    slot: number | null;
    first_slot: number | null;
    status: { commitment: string; slot: number; error: unknown } | null;
    blocks: { count: number; complete: boolean; containing_slot: number | null } | null;
  }[];
  indexed_through: number | null;
  events: { name: string; slot: number; commitment: string }[];
  suggested: Outcome | "unknown";
  contradictions: Record<Outcome, string[]>;
}

export interface Difference {
  id: number;
  owner: string;
  field: string;
  expected: Amount | null;
  actual: Amount | null;
  difference: Amount;
  chain_slot: number;
  healed: boolean;
  cause: string;
  created_at: string;
}

export type Severity = "critical" | "warning" | "info";

export interface Alert {
  id: number;
  kind: string;
  subject: string;
  owner: string | null;
  severity: Severity;
  state: "open" | "acknowledged" | "resolved";
  summary: string;
  details: Record<string, unknown>;
  count: number;
  first_seen_at: string;
  last_seen_at: string;
  acknowledged_by: string | null;
  resolved_at: string | null;
  silenced_until?: string | null;
  silenced_by?: string | null;
  silence_reason?: string | null;
}

export interface Delivery {
  id: string;
  signer: string | null;
  endpoint: string | null;
  event: string;
  state: string;
  tries: number;
  last_error: string | null;
  due_at: string;
  created_at: string;
}

export interface AuditEntry {
  id: number;
  at: string;
  actor: string;
  action: string;
  owner: string | null;
  outcome: string;
  details: Record<string, unknown>;
  hash: string;
}

export interface AuditProof {
  entries: number;
  verified_to: number;
  head: string;
  /** Null if the time was too short for the rest. */
  equal: boolean | null;
  fault: string | null;
}

export interface Approval {
  id: string;
  action: string;
  summary: string;
  body_hash: string;
  requested_by: string;
  requested_at: string;
  expires_at: string;
  status: string;
  decided_by: string | null;
  decided_at: string | null;
}

/** What became of an act that may wait for another administrator, or for another signer. */
export interface Governed {
  mode?: "submitted" | "cosign" | "proposal" | "approval";
  signature?: string;
  transaction?: string;
  governance?: string;
  instructions?: unknown[];
  approval?: Approval;
}

export interface Programs {
  programs: {
    name: string;
    program_id: string;
    deployed: boolean;
    code_hash: string | null;
    expected_hash: string | null;
    upgrade_authority: string | null;
    slot: number | null;
  }[];
}

export interface Governance {
  governance: string;
  held_by: string;
  pending_governance: string | null;
  authorized_programs: string[];
  yield_programs: string[];
  freeze: boolean;
  cpi_enforced: boolean;
  risk_level: number;
  withdrawals_paused_until: string | null;
  pause_allowed_at: string | null;
}

export interface Setting {
  name: string;
  value: string | number | boolean | null;
  default: string | number | boolean | null;
  secret: boolean;
  set?: boolean;
}

export interface LogLine {
  at: string;
  level: string;
  event: string;
  [field: string]: unknown;
}

export interface Runbook {
  name: string;
  title: string;
  html: string;
}

export type { Role };
