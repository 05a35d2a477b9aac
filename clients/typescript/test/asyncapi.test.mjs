// The AsyncAPI document is valid, and each recorded frame is exactly one of its messages.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Parser } from "@asyncapi/parser";
import Ajv2020 from "ajv/dist/2020.js";

const text = readFileSync(process.env.CVMS_ASYNCAPI, "utf8");
const document = JSON.parse(text);

test("the document is valid", async () => {
  const { document: parsed, diagnostics } = await new Parser().parse(text);
  const faults = diagnostics.filter(({ severity }) => severity <= 1);
  assert.deepEqual(faults.map(({ message, path }) => [message, path.join("/")]), []);
  assert.equal(parsed.version(), "3.0.0");
});

const ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
ajv.addSchema({ $id: "asyncapi", components: document.components });

function validators(operation) {
  const names = document.operations[operation].messages.map(({ $ref }) => $ref.split("/").at(-1));
  const pointer = (name) => `asyncapi#/components/messages/${name}/payload`;
  return names.map((name) => [name, ajv.compile({ $ref: pointer(name) })]);
}

function check(operation, frames) {
  const all = validators(operation);
  const seen = new Set();
  for (const frame of frames) {
    const matching = all.filter(([, validate]) => validate(frame)).map(([name]) => name);
    const shown = JSON.stringify(frame);
    if (matching.length === 0) {
      const near = all.filter(([name]) => name.startsWith(frame.topic ?? frame.type));
      assert.fail(`${shown} ${near.map(([, validate]) => ajv.errorsText(validate.errors))}`);
    }
    assert.equal(matching.length, 1, `${shown} is ${matching}`);
    seen.add(matching[0]);
  }
  return all.map(([name]) => name).filter((name) => !seen.has(name));
}

const { sent, received, invalid } = JSON.parse(readFileSync(process.env.CVMS_FRAMES, "utf8"));

test("each frame that the service sent is one of the messages, and each was sent", () => {
  assert.deepEqual(check("sendFrames", sent), []);
});

test("each frame that the service took is one of the messages, and each was taken", () => {
  assert.deepEqual(check("receiveFrames", received), []);
});

test("what the service refuses as malformed is none of the messages", () => {
  assert.ok(invalid.length > 0);
  for (const frame of invalid) assert.throws(() => check("receiveFrames", [frame]));
});
