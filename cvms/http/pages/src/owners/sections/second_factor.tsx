import { useEffect, useRef, useState } from "preact/hooks";

import { type Problem, problemFrom } from "../../api/client";
import { counted, timeText } from "../../parts/format";
import { type Field, Input } from "../../parts/fields";
import { Loaded, Trouble } from "../../parts/shown";
import { useOwned } from "../context";
import { Offer } from "../operation/offer";
import { fromBase64 } from "../signing/base58";
import type { SecondFactor as Status, SecondFactorSetup } from "../types";

const FIRST: Field = {
  name: "first", label: "First code, six digits", value: "", maxLength: 32, inputMode: "numeric", autocomplete: "one-time-code",
};

/** The second factor: whether there is one, and how to begin and to end it. */
export function SecondFactor() {
  const { owner, secondFactor } = useOwned();
  return (
    <section aria-labelledby="second-factor">
      <h2 id="second-factor">Second factor</h2>
      {secondFactor.problem?.code === "twofa_disabled"
        ? <p class="note">This service has no second factors.</p>
        : <Loaded from={secondFactor}>
            {(status) => status.enabled
              ? <>
                  <p>It is on since {timeText(status.since)}: withdrawals through this service need a code. {counted(status.recovery_codes_left, "recovery code")} left.</p>
                  <Offer label="Turn off" subject="the second factor" by="owner" guarded question="Turn off the second factor?"
                    about={<p>Withdrawals then need nothing but your wallet's signature.</p>}
                    ask={async (values, attempt) => {
                      await attempt.post({ path: "api/2fa/disable", action: "twofa_disable", fields: { owner }, code: values["code"] });
                      await secondFactor.reload();
                      return {};
                    }}
                    outcome={() => <p>The second factor is off.</p>} />
                </>
              : <>
                  <p>It is off. With it, withdrawals through this service need six digits of your authenticator, beside your wallet's signature.</p>
                  <Offer label="Set up" subject="the second factor" by="owner" question="Set up a second factor"
                    about={<p>You need an authenticator, such as the one of your password manager. Your wallet signs the request; nothing changes until you have entered a first code.</p>}
                    ask={(_values, attempt) => attempt.post({ path: "api/2fa/setup", action: "twofa_setup", fields: { owner } })}
                    outcome={(reply) => <Enrolment setup={reply as unknown as SecondFactorSetup} />} />
                </>}
          </Loaded>}
    </section>
  );
}

/** What the authenticator needs, and the first code, which proves that it has it. */
function Enrolment({ setup }: { setup: SecondFactorSetup }) {
  const { api, owner, secondFactor } = useOwned();
  const [code, setCode] = useState("");
  const [state, setState] = useState<"new" | "working" | "on">("new");
  const [problem, setProblem] = useState<Problem | null>(null);
  const enable = async (event: Event) => {
    event.preventDefault();
    setProblem(null);
    setState("working");
    try {
      await api.post<Status>("api/2fa/verify", { owner, code });
      setState("on");
      await secondFactor.reload();
    } catch (error) {
      setState("new");
      setProblem(problemFrom(error));
    }
  };
  if (state === "on") return <p role="status">The second factor is on. Keep the recovery codes where you keep what you cannot lose.</p>;
  return (
    <>
      <p>Scan this, or enter the secret, in your authenticator. Nothing of it is shown again.</p>
      <QrCode image={setup.qr_code} />
      <p>Secret: <code class="key" id="secret">{setup.secret}</code></p>
      <p>Recovery codes. Each works once, when the authenticator is lost. Write them down now:</p>
      <ul class="codes">{setup.recovery_codes.map((each) => <li key={each}><code>{each}</code></li>)}</ul>
      <form onSubmit={(event) => void enable(event)}>
        <Input field={FIRST} value={code} change={setCode} />
        {problem && <Trouble problem={problem} />}
        <p><button type="submit" class="primary" aria-disabled={state === "working"}>Turn on</button></p>
      </form>
    </>
  );
}

/** Draw the picture: the page's policy allows no images but its own files. */
function QrCode({ image }: { image: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const bytes = fromBase64(image.slice(image.indexOf(",") + 1));
    void createImageBitmap(new Blob([bytes as BlobPart], { type: "image/png" })).then((bitmap) => {
      if (canvas.current === null) return;
      canvas.current.width = bitmap.width;
      canvas.current.height = bitmap.height;
      canvas.current.getContext("2d")?.drawImage(bitmap, 0, 0);
    });
  }, [image]);
  return <canvas ref={canvas} class="qr" role="img" aria-label="QR code of the secret" />;
}
