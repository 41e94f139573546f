// `local` in memory, its console in a browser, and what the stories need of both.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

// A process that prints lines, from the first one on that `until` accepts.
async function start(program, args, until, env = {}) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, ...env } });
  const lines = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    if (until(line)) return { child, lines };
  }
  throw new Error(`${program} has ended: ${lines.join("\n")}`);
}

// Addresses that `local` prints.
function address(lines, name) {
  const line = lines.find((line) => line.startsWith(name));
  return line.slice(name.length).trim().split(/\s/)[0];
}

export class System {
  static async start() {
    const ports = ["--http-port", "0", "--aws-port", "0", "--rightfoot-port", "0", "--fynapse-port", "0", "--console-port", "0"];
    const { child, lines } = await start(process.env.LOCAL, ["--memory", ...ports], (line) => line === "ready");
    const system = new System();
    Object.assign(system, {
      child,
      consoleUrl: address(lines, "Console"),
      awsUrl: address(lines, "AWS endpoint"),
      httpUrl: address(lines, "Fynapse's endpointUrl").replace("/webhooks/fynapse", ""),
      browser: await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] }),
    });
    return system;
  }

  // A window of its own that is signed in. It fails the story if the page's policy blocks something, or its script fails.
  async open(options = {}, url = this.consoleUrl) {
    const context = await this.browser.newContext(options);
    const page = await context.newPage();
    page.problems = [];
    page.on("pageerror", (error) => page.problems.push(error.message));
    page.on("console", (message) => { if (message.type() === "error") page.problems.push(message.text()); });
    await page.goto(url);
    page.base = new URL(url).origin;
    page.show = (path) => page.goto(page.base + path);
    return page;
  }

  // Delivers an event of Fynapse, as the command line does.
  async deliver(...more) {
    const args = ["--json", "--endpoint-url", this.awsUrl, "--base-url", this.httpUrl, "send", "fynapse", ...more];
    const env = { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local", AWS_REGION: "us-east-1" };
    const child = spawn(process.env.INBOXCTL, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
    let text = "";
    child.stdout.on("data", (chunk) => { text += chunk; });
    await once(child, "close");
    return JSON.parse(text).event;
  }

  // Submits a batch of one authorizer.
  async submitBatch(submissionId) {
    const person = {
      authorizer_unique_id: "user-1", first_name: "Jane", last_name: "Doe", phone_number: "5551234567",
      ssn: "078051120", account_number: "000123456789", routing_number: "021000021",
    };
    const body = JSON.stringify({ action: "submit_batch", submission_id: submissionId, authorizers: [person] });
    const path = "/2015-03-31/functions/rightfoot-requests/invocations";
    return (await (await fetch(this.awsUrl + path, { method: "POST", body })).json()).batch_id;
  }

  // The bodies of the messages that the bus has delivered, which are taken off.
  async drainBus() {
    const call = async (operation, body) => {
      const response = await fetch(this.awsUrl, {
        method: "POST",
        headers: { "x-amz-target": `AmazonSQS.${operation}`, "content-type": "application/x-amz-json-1.0" },
        body: JSON.stringify(body),
      });
      return response.json();
    };
    const { QueueUrl } = await call("GetQueueUrl", { QueueName: "bus-events" });
    const bodies = [];
    for (;;) {
      const { Messages = [] } = await call("ReceiveMessage", { QueueUrl, MaxNumberOfMessages: 10 });
      if (Messages.length === 0) return bodies;
      for (const { Body, ReceiptHandle } of Messages) {
        bodies.push(JSON.parse(Body));
        await call("DeleteMessage", { QueueUrl, ReceiptHandle });
      }
    }
  }

  // A read-only console of the same inbox.
  async startReadOnly() {
    const args = ["--json", "--endpoint-url", this.awsUrl, "--base-url", this.httpUrl, "console", "--no-open", "--read-only"];
    const env = { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local", AWS_REGION: "us-east-1" };
    const { child, lines } = await start(process.env.INBOXCTL, args, () => true, env);
    return { url: JSON.parse(lines[0]).url, stop: () => child.kill() };
  }

  async stop() {
    await this.browser.close();
    this.child.kill();
  }
}
