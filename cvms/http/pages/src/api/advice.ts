import type { Advice } from "./client";

/** What an administrator may do after a refusal. */
export const ADVICE: Advice = {
  byCode: {
    invalid_token: "Sign in with a new token of `cvms token`.",
    not_allowed: "Ask somebody who has the role, or sign in with a token that has it.",
    database_unavailable: "Look at the component database under Overview. Nothing was changed; try again.",
    chain_unavailable: "No RPC node answers: look at the endpoints under Overview, then try again.",
    rate_limited: "Wait a moment, then try again.",
    overloaded: "Wait a moment, then try again.",
    approval_ended: "Reload the list: somebody has decided it, or its hour is over.",
    settlement_contradicted: "Read the evidence again. Settle against it only if you know more than the nodes.",
    conflict: "Reload the page: the state has changed meanwhile.",
    timeout: "The service is slow. Reload to see whether the request had an effect before you repeat it.",
  },
  otherwise: "If it is not clear why, look for the request's id in the log.",
};
