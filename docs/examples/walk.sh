#!/bin/bash
# Calls every route of the service, beside a running `make dev`:
#
#   docs/examples/walk.sh
#
# Prints one line for each request: the status, the method and the path. curl makes every request;
# wallet.py only holds keys and signs. SERVICE_URL, RPC_URL and DATA_DIR override the defaults.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
service=${SERVICE_URL:-http://127.0.0.1:8080}
rpc=${RPC_URL:-http://127.0.0.1:8899}
data=${DATA_DIR:-.cvms}
bin=${CVMS_BIN:-$here/../../.venv/bin}
mint=${USDT_MINT:-4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ}
pool_program=${YIELD_POOL_PROGRAM_ID:-7ubN3FoNzQsNFrdnHDn86ipow8F7Q2Jtx9zw4LTyDmtr}
keys=$(mktemp -d)
trap 'rm -rf "$keys"' EXIT

wallet() { "$bin/python" "$here/wallet.py" "$@"; }
field() { "$bin/python" -IS "$here/fields.py" "$@" <<<"$reply"; } # -IS: none but Python's own modules

# ask METHOD PATH [BODY [HEADER]]: send a request; sets $status and $reply.
ask() {
  asked="$1 $2"
  local arguments=(--silent --show-error --max-time 20 --request "$1" --write-out '\n%{http_code}')
  [ -n "${3:-}" ] && arguments+=(--header 'Content-Type: application/json' --data-binary "$3")
  [ -n "${4:-}" ] && arguments+=(--header "$4")
  reply=$(curl "${arguments[@]}" "$service$2")
  status=${reply##*$'\n'} reply=${reply%$'\n'*}
}

# call STATUS METHOD PATH [BODY [HEADER]]: ask, print the status, and exit unless it is STATUS.
call() {
  ask "${@:2}"
  echo "$status $asked"
  if [ "$status" != "$1" ]; then
    echo "expected $1: $reply" >&2
    exit 1
  fi
}

# eventually STATUS FUNCTION ARGUMENTS...: repeat until STATUS, for 30 seconds at most.
eventually() {
  local until=$((SECONDS + 30))
  while "${@:2}" && [ "$status" != "$1" ]; do
    if [ $SECONDS -gt $until ]; then
      echo "never answered $1: ${*:2}: $reply" >&2
      exit 1
    fi
    sleep 0.2
  done
  echo "$status $asked"
}

nonce() {
  ask POST /api/auth/nonce "{\"owner\": \"$(wallet address "$keys/$1")\"}"
  field nonce
}

# signed WHO TEXT name=value...: print a body with these fields and WHO's signature of TEXT.
signed() {
  wallet sign "$keys/$1" "$2" "${@:3}" nonce="$(nonce "$1")"
}

# sent WHO...: sign the transaction in $reply, submit it, and wait until it is confirmed.
sent() {
  local transaction files=("${@/#/$keys/}")
  transaction=$(wallet cosign "$(field transaction)" "${files[@]}")
  call 202 POST /api/transactions "{\"transaction\": \"$transaction\"}"
  wait_confirmed "$(field signature)"
}

wait_confirmed() {
  local until=$((SECONDS + 30))
  ask GET "/api/transactions/$1"
  while [[ $(field status) == pending || $(field status) == submitted ]]; do
    [ $SECONDS -le $until ] || { echo "not confirmed: $reply" >&2; exit 1; }
    sleep 0.2
    ask GET "/api/transactions/$1"
  done
  [[ $(field status) =~ ^(confirmed|finalized)$ ]] || { echo "failed: $reply" >&2; exit 1; }
}

# chain METHOD PARAMETERS: send a request to the chain itself.
chain() {
  reply=$(curl --silent --show-error --fail --max-time 20 --header 'Content-Type: application/json' \
    --data "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"$1\", \"params\": $2}" "$rpc")
  [[ $reply != *'"error"'* ]] || { echo "$1: $reply" >&2; exit 1; }
}

# person WHO: create a wallet with SOL and USDT, which only a local chain gives away.
person() {
  wallet new "$keys/$1"
  chain requestAirdrop "[\"$(wallet address "$keys/$1")\", 2000000000]"
  chain surfnet_setTokenAccount "[\"$(wallet address "$keys/$1")\", \"$mint\", {\"amount\": 5000000000}]"
}

vault_of() {
  eventually 200 ask POST /api/vault/initialize "{\"owner\": \"$(wallet address "$keys/$1")\"}"
  sent "$1"
}

echo "# Is it there?"
for path in /health /ready /ready/traffic /metrics /openapi.json /asyncapi.json /docs /api/config /api/idl/collateral_vault; do
  call 200 GET $path
done

echo "# A vault, its tokens, and who may act for it"
for who in alice bob carol; do person $who; done
alice=$(wallet address "$keys/alice") bob=$(wallet address "$keys/bob")
carol=$(wallet address "$keys/carol")
vault_of alice
vault_of bob
vault_of carol
# The nonce comes with the text to sign. Below, the wallet builds the texts itself.
call 200 POST /api/auth/nonce "{\"owner\": \"$alice\", \"action\": \"deposit\", \"fields\": {\"amount\": 2000000000}}"
call 200 POST /api/vault/deposit "$(wallet sign "$keys/alice" "$(field message)" owner="$alice" amount=2000000000 nonce="$(field nonce)")"
operator=$(wallet payer "$(field transaction)")
sent alice
eventually 200 ask GET "/api/vault/balance/$alice" # once the indexer has read it
# Signed as a Sign-In With Solana message, which wallets display best.
call 200 POST /api/vault/delegate/add "$(wallet sign-in "$keys/alice" \
  'delegate_add:{owner}:{delegate}:{nonce}' owner="$alice" delegate="$operator" nonce="$(nonce alice)")"
sent alice
call 200 POST /api/vault/delegate/add "$(signed alice 'delegate_add:{owner}:{delegate}:{nonce}' owner="$alice" delegate="$carol")"
sent alice
call 200 POST /api/vault/delegate/remove "$(signed alice 'delegate_remove:{owner}:{delegate}:{nonce}' owner="$alice" delegate="$carol")"
call 200 DELETE /api/vault/delegate/remove "$(signed alice 'delegate_remove:{owner}:{delegate}:{nonce}' owner="$alice" delegate="$carol")"
sent alice

echo "# The service is a delegate now and submits on its own"
call 202 POST /api/vault/withdraw "$(signed alice 'withdraw:{owner}:{amount}:{nonce}' owner="$alice" amount=100000000)"
signature=$(field signature)
wait_confirmed "$signature"
call 200 GET "/api/transactions/$signature"
call 202 POST /api/vault/schedule-withdraw "$(signed alice 'schedule:{owner}:{amount}:{duration_seconds}:{nonce}' \
  owner="$alice" amount=50000000 duration_seconds=1)"
wait_confirmed "$(field signature)"
timelock_released() {
  ask GET "/api/vault/timelocks/$alice"
  [ "$(field timelocked)" = 0 ] || status=waiting
}
eventually 200 timelock_released # the service releases it once it is due, and none is left to release
call 409 POST /api/vault/release-timelocks "{\"owner\": \"$alice\"}"

echo "# Positions"
call 200 POST /api/pm/lock "$(signed alice 'pm_lock:{owner}:{amount}:{nonce}' owner="$alice" amount=300000000)"
sent alice
call 200 POST /api/pm/unlock "$(signed alice 'pm_unlock:{owner}:{amount}:{nonce}' owner="$alice" amount=300000000)"
sent alice
call 409 POST /api/pm/settle "{\"owner\": \"$alice\"}" # governance has taken nothing

echo "# Yield"
lent='{owner}:{amount}:{yield_program}:{nonce}'
call 200 POST /api/vault/yield-deposit "$(signed alice "yield_deposit:$lent" owner="$alice" amount=1000000000 yield_program="$pool_program")"
sent alice
compound() {
  ask POST /api/vault/compound "$(signed alice 'compound_yield:{owner}:{compounded_amount}:{yield_program}:{nonce}' \
    owner="$alice" compounded_amount=1 yield_program="$pool_program")"
}
eventually 202 compound # as soon as a millionth of a USDT has been earned
wait_confirmed "$(field signature)"
call 202 POST /api/vault/yield-withdraw "$(signed alice "yield_withdraw:$lent" owner="$alice" amount=1000000000 yield_program="$pool_program")"
wait_confirmed "$(field signature)"
call 200 GET "/api/vault/yield-status/$alice"
call 200 POST /api/vault/yield-policy "$(signed alice 'yield_policy:{owner}:{yield_program}:on:{min_amount}:{nonce}' \
  owner="$alice" yield_program="$pool_program" auto_compound=true min_amount=1000000)"
call 200 GET "/api/vault/yield-policy/$alice"

echo "# A second factor"
call 200 POST /api/2fa/setup "$(signed alice 'twofa_setup:{owner}:{nonce}' owner="$alice")"
{ read -r secret; read -r recovery; } < <(field secret recovery_codes.0)
call 200 POST /api/2fa/verify "{\"owner\": \"$alice\", \"code\": \"$(wallet code "$secret")\"}"
call 200 GET "/api/2fa/status/$alice"
call 401 POST /api/vault/withdraw "$(signed alice 'withdraw:{owner}:{amount}:{nonce}' owner="$alice" amount=1)"
call 200 POST /api/2fa/disable "$(signed alice 'twofa_disable:{owner}:{nonce}' owner="$alice")" "X-2FA-CODE: $recovery"

echo "# Withdrawal policies"
call 200 POST /api/admin/withdraw/whitelist/add "$(signed alice 'whitelist_add:{owner}:{address}:{nonce}' owner="$alice" address="$bob")"
sent alice
call 200 POST /api/admin/withdraw/whitelist/remove "$(signed alice 'whitelist_remove:{owner}:{address}:{nonce}' owner="$alice" address="$bob")"
call 200 DELETE /api/admin/withdraw/whitelist/remove "$(signed alice 'whitelist_remove:{owner}:{address}:{nonce}' owner="$alice" address="$bob")"
sent alice
call 200 POST /api/admin/withdraw/rate-limit/set "$(signed bob 'rate_limit_set:{owner}:{window_seconds}:{max_amount}:{nonce}' \
  owner="$bob" window_seconds=3600 max_amount=1000000000)"
sent bob
call 200 POST /api/vault/deposit "$(signed bob 'deposit:{owner}:{amount}:{nonce}' owner="$bob" amount=100000000)"
sent bob
call 200 POST /api/admin/withdraw/min-delay/set "$(signed bob 'min_delay_set:{owner}:{seconds}:{nonce}' owner="$bob" seconds=3600)"
sent bob
call 200 POST /api/vault/request-withdraw "$(signed bob 'request_withdraw:{owner}:{amount}:{nonce}' owner="$bob" amount=1000000)"
sent bob

echo "# Guards, and what their delays hold up"
request_of() { # the only requested withdrawal
  ask GET "/api/vault/limits/$bob"
  [[ $reply == *'"until_time"'* ]] || status="not indexed yet"
}
eventually 200 request_of
call 200 POST /api/vault/request-withdraw/cancel "$(signed bob 'request_withdraw_cancel:{owner}:{amount}:{executable_at}:{nonce}' \
  owner="$bob" amount=1000000 executable_at="$(field pending.0.until_time)")"
sent bob
call 422 POST /api/admin/withdraw/min-delay/set "$(signed bob 'min_delay_set:{owner}:{seconds}:{nonce}' owner="$bob" seconds=0)"
changed() { # changed STATUS STEP NAME=VALUE...: a step of Bob's change, which would end the delay
  call "$1" POST "/api/vault/guard-changes/$2" "$(signed bob "guard_$2:{owner}:{change}:{nonce}" \
    owner="$bob" change=min_delay=0 "${@:3}")"
}
changed 200 request
sent bob
call 200 GET "/api/vault/guard-changes/$bob"
changed 422 apply # an hour too early
changed 200 cancel signer="$bob"
sent bob
call 200 POST /api/vault/transfer-allowance/set "$(signed alice 'transfer_allowance_set:{owner}:{allowance}:{nonce}' \
  owner="$alice" allowance=unlimited)"
sent alice
call 202 POST /api/vault/schedule-withdraw "$(signed alice 'schedule:{owner}:{amount}:{duration_seconds}:{nonce}' \
  owner="$alice" amount=50000000 duration_seconds=3600)"
wait_confirmed "$(field signature)"
timelocked() {
  ask GET "/api/vault/timelocks/$alice"
  [ "$(field timelocked)" = 50000000 ] || status="not indexed yet"
}
eventually 200 timelocked
call 200 POST /api/vault/timelock/cancel "$(signed alice 'timelock_cancel:{owner}:{amount}:{unlock_time}:{nonce}' \
  owner="$alice" amount=50000000 unlock_time="$(field timelocks.0.until_time)")"
sent alice

echo "# Out without anybody's consent"
call 200 POST /api/vault/exit/request "$(signed alice 'exit_request:{owner}:{nonce}' owner="$alice")"
sent alice
call 422 POST /api/vault/exit/release "$(signed alice 'exit_release:{owner}:{nonce}' owner="$alice")" # a week too early
call 200 POST /api/vault/exit/withdraw "$(signed alice 'exit_withdraw:{owner}:{amount}:{nonce}' owner="$alice" amount=1000000)"
sent alice # as nothing is locked
call 200 GET "/api/vault/$alice"
stray=$(field token_account)
call 422 POST /api/vault/sweep "$(signed alice 'sweep:{owner}:{token_account}:{nonce}' owner="$alice" token_account="$stray")" # no surplus

echo "# A multisig of Alice and Bob"
chain getLatestBlockhash '[{"commitment": "confirmed"}]'
transaction=$(wallet multisig "$keys/alice" "$(field result.value.blockhash)" 2 "$alice" "$bob")
chain sendTransaction "[\"$transaction\", {\"encoding\": \"base64\", \"preflightCommitment\": \"confirmed\"}]"
propose() {
  ask POST /api/vault/propose-withdraw "$(signed alice 'propose_withdraw:{owner}:{amount}:{threshold}:{nonce}' \
    owner="$alice" amount=10000000 threshold=2)"
}
eventually 200 propose # once the chain has confirmed the multisig
proposal=$(field proposal_id)
for who in alice bob; do
  call 200 POST /api/vault/approve-withdraw "$(signed $who 'approve_withdraw:{proposal_id}:{nonce}' \
    proposal_id="$proposal" signer="$(wallet address "$keys/$who")")"
done
call 200 GET "/api/vault/proposal/$proposal"
sent alice bob

call 200 POST /api/vault/signer-contact "$(signed carol 'signer_contact:{signer}:{url}:{nonce}' signer="$carol" url=https://hooks.example.com/carol)"

echo "# Webhooks for events"
# Messages would leave this machine, so it is deactivated at once.
url=https://hooks.example.com/bob
call 201 POST /api/webhooks "$(signed bob 'webhook_register:{owner}:all:{url}:{nonce}' owner="$bob" url="$url")"
hook=$(field endpoint.id)
hooked() { # hooked STATUS ACTION NAME=VALUE...: a signed request about the webhook
  local text="webhook_$2:{owner}:{endpoint}"
  for each in "${@:3}"; do text+=":{${each%%=*}}"; done
  call "$1" POST "/api/webhooks/$2" "$(signed bob "$text:{nonce}" owner="$bob" endpoint="$hook" "${@:3}")"
}
hooked 200 deactivate
call 200 POST /api/webhooks/list "$(signed bob 'webhook_list:{owner}:{nonce}' owner="$bob")"
hooked 409 test
hooked 409 resend webhook_id=00000000-0000-0000-0000-000000000000
call 200 POST /api/webhooks/rotate "$(signed bob 'webhook_rotate:{owner}:{endpoint}:86400:{nonce}' owner="$bob" endpoint="$hook")"
call 200 POST /api/webhooks/messages "$(signed bob 'webhook_messages:{owner}:{endpoint}::50:{nonce}' owner="$bob" endpoint="$hook")"
hooked 200 activate
hooked 200 delete

echo "# Closing a vault"
call 200 POST /api/vault/close "$(signed carol 'close_vault:{owner}:{nonce}' owner="$carol")"
sent carol

echo "# Queries and analytics"
for path in "/$alice" "/transactions/$alice?limit=5" "/config/$alice" \
  "/timelocks/$alice" "/limits/$bob" "/statement/$alice?limit=5" /tvl; do
  call 200 GET "/api/vault$path"
done
call 200 GET '/api/vaults?limit=10'
for name in tvl-series distribution utilization flow overview; do
  call 200 GET /api/analytics/$name
done

echo "# Administrators"
token="Authorization: Bearer $("$bin/cvms" token walker --role admin --data-dir "$data")"
decide() { call 202 POST "$1" "$2" "$token"; decided=$(field signature); wait_confirmed "$decided"; }
for what in vault-authority yield-program; do
  decide /api/admin/$what/add "{\"program\": \"$carol\"}"
  decide /api/admin/$what/remove "{\"program\": \"$carol\"}"
done
decide /api/admin/risk-level/set '{"risk_level": 3}'
decide /api/admin/freeze/set '{"freeze": false}'
decide /api/admin/cpi-enforced/set '{"cpi_enforced": false}'
decide /api/admin/transfer-limits/set '{"vault_daily": 5000000000, "total_daily": 9000000000}'
decide /api/admin/withdrawals/pause '{"seconds": 60}'
decide /api/admin/withdrawals/pause '{"seconds": 0}'
decide /api/admin/governance/propose "{\"proposed\": \"$carol\"}"
call 200 GET /api/admin/governance "" "$token"
decide /api/admin/governance/propose '{"proposed": "11111111111111111111111111111111"}'
call 409 POST /api/admin/governance/accept '{}' "$token" # the proposal is withdrawn
decide /api/vault/emergency-withdraw "{\"owner\": \"$bob\", \"amount\": 1000000, \"reason\": \"a walk\"}"
decide /api/internal/transfer-collateral "{\"from_owner\": \"$alice\", \"to_owner\": \"$bob\", \"amount\": 1000000}"
call 200 GET "/api/vault/$alice"
call 202 POST /api/admin/vault-token-account/set \
  "{\"owner\": \"$alice\", \"token_account\": \"$(field token_account)\"}" "$token"
call 202 POST /api/admin/reconcile "{\"owner\": \"$alice\"}" "$token"
call 202 POST /api/admin/proofs "" "$token"
# The emergency withdrawal from Bob's vault raises an alert.
alerted() {
  ask GET "/api/admin/alerts?state=open&severity=warning" "" "$token"
  [[ $reply != *'"emergency_withdrawal"'* ]] && status="no alert yet"
  true
}
eventually 200 alerted
alert=/api/admin/alerts/$(field alerts.0.id)
call 200 POST "$alert/acknowledge" "" "$token"
call 200 POST "$alert/silence" '{"minutes": 5, "reason": "a walk"}' "$token"
call 200 POST "$alert/unsilence" "" "$token"
# What the console shows.
for path in overview charts settings programs audit/export "vaults?query=${alice:0:4}" "vaults/$alice"; do
  call 200 GET "/api/admin/$path" "" "$token"
done
call 200 GET "/api/admin/vaults/$alice/balance?slot=$(field slot)" "" "$token"
call 200 POST /api/admin/audit/verify "" "$token"
# What is decided is shown, but there is nothing to settle.
call 200 GET "/api/admin/submissions?state=quarantined" "" "$token"
call 200 GET "/api/admin/submissions/$decided" "" "$token"
call 409 POST "/api/admin/submissions/$decided/settle" '{"outcome": "expired", "reason": "a walk"}' "$token"
# Look closer for a minute.
call 200 PUT /api/admin/log-level '{"level": "debug", "minutes": 1}' "$token"
call 200 GET /api/admin/log-level "" "$token"
call 200 GET "/api/admin/logs?level=warning&text=log_level" "" "$token"
# A message to Carol would leave this machine, and Bob has no webhook.
call 404 POST /api/admin/deliveries/test "{\"signer\": \"$bob\"}" "$token"
call 404 POST /api/admin/deliveries/00000000-0000-0000-0000-000000000000/resend "" "$token"
# One administrator acts alone here, so nothing waits for another one.
for what in approve reject withdraw; do
  call 404 POST /api/admin/approvals/00000000-0000-0000-0000-000000000000/$what "" "$token"
done
call 404 GET /api/admin/approvals/00000000-0000-0000-0000-000000000000 "" "$token"
for path in approvals deliveries "audit?owner=$alice&limit=5" reconciliation tasks webhooks statement statement/lines; do
  call 200 GET "/api/admin/$path" "" "$token"
done

echo "# Is it all there? An entry is made once what was done is final."
eventually 200 ask GET "/api/proofs/latest/$alice"
for path in "?limit=5" /log /latest /latest/reserves; do
  call 200 GET "/api/proofs$path"
done
echo "Every route answered as it should."
