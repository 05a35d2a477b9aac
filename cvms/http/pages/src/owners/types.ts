/** Amounts are strings of digits: the page asks for them so, whatever the browser's JSON can hold. */
export interface Vault {
  owner: string;
  vault: string;
  balance: string;
  available: string;
  locked: string;
  timelocked: string;
  yield_deposited: string;
  yield_accrued: string;
  multisig: { threshold: number; signers: string[] };
  policy: { min_withdraw_delay_seconds: number };
  timelocks: Timelock[];
  pending_withdrawals: WithdrawalRequest[];
  delegates: string[];
  slot: number;
  as_of: string | null;
}

interface Waiting {
  amount: string;
  until_time: number;
  until: string | null;
  remaining_seconds: number;
}

export interface Timelock extends Waiting {
  by_delegate: boolean;
}

export interface WithdrawalRequest extends Waiting {
  expires: string | null;
  expired: boolean;
}

export interface Movement {
  id: number | null;
  kind: string;
  amount: string;
  balance_after: string | null;
  slot: number;
  block_time: string | null;
  signature: string;
  commitment: string;
}

export interface Deployment {
  programs: { collateral_vault: string };
  mint: string;
  decimals: number;
  operator: string;
  chain: { chain_id: string };
}

export interface TransactionState {
  signature: string;
  status: string;
  slot: number | null;
  error: unknown;
}

export interface Proposal {
  proposal_id: string;
  owner: string;
  amount: string;
  threshold: number;
  signers: string[];
  state: string;
  approvals: { signer: string; approved_at: string }[];
  missing: string[];
  expires_at: string;
  transaction?: string;
  must_sign?: string[];
  signature?: string;
  status?: string;
}

export interface SecondFactor {
  enabled: boolean;
  since: string | null;
  recovery_codes_left: number;
}

export interface SecondFactorSetup {
  secret: string;
  otpauth_uri: string;
  qr_code: string;
  recovery_codes: string[];
}

/** What the service answers to a request: a transaction to sign, one that it sends, or another thing. */
export interface Reply {
  transaction?: string;
  signature?: string | null;
  missing?: string[];
  rebuilt?: boolean;
}
