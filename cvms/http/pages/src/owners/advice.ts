import type { Advice } from "../api/client";

const WAIT = "Wait a moment, then try again.";
const AGAIN = "Nothing was sent. Try again.";

/** What an owner may do after a refusal. */
export const ADVICE: Advice = {
  byCode: {
    unreachable: "Check your connection, then try again: a repeated request takes effect once.",
    timeout: "The service is slow. Try again: a repeated request takes effect once.",
    rate_limited: WAIT,
    overloaded: WAIT,
    database_unavailable: WAIT,
    chain_unavailable: "No node of the chain answers the service. Nothing was sent; try again in a minute.",
    chain_timeout: AGAIN,
    deadline_exceeded: "Look at the history below before you repeat it: it may have taken effect.",
    internal_error: "Look at the history below before you repeat it, and give the request's id to whoever runs the service.",
    invalid_signature: "The wallet has signed something else. Check that it is the account that you have chosen, and try again.",
    invalid_nonce: AGAIN,
    nonce_expired: "It took too long to sign. Try again.",
    nonce_used: "The request has arrived once already. Look at the history below before you repeat it.",
    second_factor_required: "Enter the six digits that your authenticator shows, or a recovery code.",
    invalid_second_factor: "Check the clock of your device, wait for the next code, and enter that one.",
    second_factor_used: "Each code works once: wait for the next one.",
    twofa_disabled: "This service has no second factors, or has lost the key to them. A recovery code still works.",
    transaction_expired: "Signing took longer than a minute. Nothing moved: start again.",
    unknown_transaction: "The wallet has changed the transaction in a way that the service does not send. Use another wallet, or turn off what adds to transactions.",
    insufficient_funds: "Send the missing SOL to your wallet, then try again.",
    sponsorship_exhausted: "The service pays no more fees for this vault today. Try again tomorrow (UTC).",
    sponsorship_paused: "The service cannot pay fees now. Try again later.",
    no_multisig: "Withdraw directly: the vault has no multisig.",
    not_a_signer: "Connect the wallet of one of the multisig's signers.",
    proposal_expired: "Propose the withdrawal again.",
    proposal_cancelled: "The signers or the threshold have changed. Propose the withdrawal again.",
    proposal_completed: "There is nothing left to do: look at its state.",
    vault_not_found: "Open the vault first.",
    conflict: "Reload the page: the state has changed meanwhile.",
    "program_error InsufficientFunds": "Choose an amount that is not above what your wallet holds, or above what the vault has available.",
    "program_error Unauthorized": "The vault needs other signatures. With a multisig, propose the withdrawal below.",
    "program_error WithdrawalsPaused": "Governance has paused withdrawals. Ask whoever runs the service until when.",
    "program_error OpenPositionsExist": "Close your positions first: something is locked.",
    "program_error GuardInForce": "A minimum delay or a multisig guards this. Wait for the delay, or let the signers sign.",
    "program_error NotExecutableNow": "Its time has not come, or is over. Look at the times below.",
    program_error: "Nothing moved. Change the amount, or look at the limits of the vault.",
  },
  otherwise: "Nothing was sent. If it is not clear why, give the request's id to whoever runs the service.",
};
