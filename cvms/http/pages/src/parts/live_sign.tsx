import { useLiveState, useShared } from "../api/shared";
import { timeText } from "./format";

/** Whether the page shows what is so now, and since when it does not. */
export function LiveSign() {
  const { live } = useShared();
  const { live: isLive, since, reason } = useLiveState(live);
  return (
    <p class={isLive ? "live" : "live stale"} role="status">
      {isLive ? "Live" : `Stale since ${timeText(since)}`}
      {reason !== "" && <span class="note"> ({reason})</span>}
    </p>
  );
}
