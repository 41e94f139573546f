// Stories of the console in a real browser, each with a window of its own: `node stories.mjs [NAME…]`.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFile, writeFile, mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { System } from "./system.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// Every page, once there is something on it.
async function paths(system) {
  const event = await system.deliver();
  await system.deliver("--spoil", "json");
  const batch = await system.submitBatch("payroll-1");
  const page = await system.open();
  await page.waitForSelector(`a[href="/event?id=${event}"]`);
  await page.waitForFunction(() => document.querySelector("tbody .state.good"), null, { timeout: 20_000 });
  await page.show("/quarantine");
  const item = await page.getAttribute("tbody a", "href");
  await page.context().close();
  return [
    "/", "/events", "/events?state=done", `/event?id=${event}`, `/events/replay?id=${event}`, "/batches",
    `/batch?id=${batch}`, "/batches/track", "/schedules", "/submissions", "/submission?id=payroll-1", "/quarantine", item,
    item.replace("/item", "/replay"), "/dead-letters", "/audit", "/send", "/checks", "/last-hour", "/search?q=e", "/nowhere",
    `/events?batch=${batch}`, "/authorizer?id=user-1",
  ];
}

const stories = {
  async "a delivery appears within five seconds without a reload"(system) {
    const [overview, events] = [await system.open(), await system.open()];
    await events.show("/events");
    const event = await system.deliver();
    const row = `a[href="/event?id=${event}"]`;
    await overview.waitForSelector(row, { timeout: 5_000 });
    // The list only offers what is new: it does not move under the pointer.
    const button = events.locator("[data-announce] a");
    await button.waitFor({ timeout: 5_000 });
    assert.match(await button.textContent(), /^\+\d+ new$/);
    assert.equal(await events.locator(row).count(), 0);
    await button.click();
    await events.waitForSelector(row);
    // The page that was opened says so after its first refresh.
    await events.waitForSelector("#connection:text-is('live')");
    return [overview, events];
  },

  async "a replay with a reason reaches the bus"(system) {
    const page = await system.open();
    const event = await system.deliver();
    await page.show(`/event?id=${event}`);
    await page.waitForSelector("main .state.good", { timeout: 10_000 });
    await page.reload();
    await system.drainBus();
    await page.click("text=Replay…");
    // The browser itself asks for the reason.
    await page.click("button.main");
    assert.match(page.url(), /\/events\/replay/);
    await page.fill("input[name=why]", "rule was wrong");
    await page.fill("input[name=by]", "ada");
    await page.click("button.main:text('Replay 1 event')");
    await page.waitForURL(/\/event\?/);
    await page.waitForSelector("text=— replay by ada: rule was wrong");
    // The page follows it: two ends in the timeline.
    await page.waitForFunction(() => [...document.querySelectorAll(".timeline strong")]
      .filter((step) => step.textContent.startsWith("is done")).length === 2, null, { timeout: 15_000 });
    const replayed = (await system.drainBus()).filter((it) => it.detail.id === event);
    assert.deepEqual(replayed.map((it) => it.detail.replay), [1]);
    return [page];
  },

  async "a payload is revealed as text and nothing in it runs"(system) {
    const page = await system.open();
    const event = await system.deliver();
    await page.show(`/event?id=${event}`);
    assert.equal(await page.locator("[aria-label^=Payload]").count(), 0);
    await page.click("text=Reveal the payload");
    assert.match(await page.locator("[aria-label^=Payload]").first().textContent(), /"event_type":"balance.extracted"/);
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("text=Download it as received")]);
    assert.match(download.suggestedFilename(), /\.payload$/);
    return [page];
  },

  async "a read-only console offers no act and refuses one"(system) {
    const event = await system.deliver();
    const { url, stop } = await system.startReadOnly();
    const page = await system.open({}, url);
    await page.show(`/event?id=${event}`);
    assert.equal(await page.locator("text=Replay…").count(), 0);
    const status = await page.evaluate(async () => {
      const body = new URLSearchParams({ id: "x", by: "ada", why: "x", plan: "0123456789ab" });
      return (await fetch("/events/replay", { method: "POST", body })).status;
    });
    assert.equal(status, 403);
    page.problems = page.problems.filter((problem) => !problem.includes("403"));
    stop();
    return [page];
  },

  async "a page on another port of this machine can neither read nor act"(system) {
    const page = await system.open();
    const event = await system.deliver();
    await page.waitForSelector(`a[href="/event?id=${event}"]`);
    const target = page.base;
    const cookies = [];
    const evil = createServer((request, response) => cookies.push(request.headers.cookie) && response.setHeader("content-type", "text/html").end(`<!doctype html>
      <form method="post" action="${target}/events/replay"><input name="id" value="${event}"><input name="by" value="x">
      <input name="why" value="x"><input name="plan" value="0123456789ab"></form><iframe src="${target}/events"></iframe>
      <img src="${target}/icon.svg">`));
    await new Promise((ready) => evil.listen(0, "127.0.0.1", ready));
    await page.goto(`http://127.0.0.1:${evil.address().port}/`);
    const read = await page.evaluate(async (url) => {
      try { return (await fetch(url, { credentials: "include" })).status; } catch { return "blocked"; }
    }, `${target}/events`);
    assert.equal(read, "blocked");
    assert.deepEqual(cookies.filter((it) => it !== undefined), [], "the cookie is for the console's own name");
    const [response] = await Promise.all([
      page.waitForNavigation(),
      page.evaluate(() => document.querySelector("form").submit()),
    ]);
    assert.equal(response.status(), 403, "its form is refused");
    evil.close();
    page.problems = [];
    return [page];
  },

  async "the private page opens the console"(system) {
    const dir = await mkdtemp(join(tmpdir(), "console-"));
    const file = join(dir, "open.html");
    await writeFile(file, `<!doctype html><meta http-equiv="refresh" content="0; url=${system.consoleUrl}">`);
    const page = await system.open({}, `file://${file}`);
    await page.waitForURL(new URL(system.consoleUrl).origin + "/");
    await page.waitForSelector("h1:text('Overview')");
    assert.ok(!page.url().includes("token"));
    await rm(dir, { recursive: true });
    return [page];
  },

  async "nothing moves while rows are checked or the page is paused"(system) {
    const page = await system.open();
    await system.deliver();
    await page.waitForTimeout(3_000);
    await page.show("/events");
    await page.waitForSelector("tbody input[type=checkbox]");
    await page.check("tbody input[type=checkbox] >> nth=0");
    await page.waitForSelector("text=paused while rows are checked");
    await system.deliver();
    await page.waitForTimeout(4_000);
    assert.equal(await page.locator("[data-announce] a").count(), 0);
    await page.uncheck("tbody input[type=checkbox] >> nth=0");
    await page.waitForSelector("[data-announce] a", { timeout: 5_000 });
    // The switch is remembered, and every page obeys it.
    await page.click("#pause");
    await page.show("/");
    await page.waitForFunction(() => document.querySelector("#connection").textContent === "paused");
    await page.click("#pause");
    await page.waitForFunction(() => document.querySelector("#connection").textContent === "live");
    // A forgotten tab stops asking.
    const forgotten = await system.open();
    await forgotten.clock.install();
    await forgotten.show("/");
    await forgotten.clock.fastForward("16:00");
    // The last answer may still be on its way: only the page's clock is moved, not that of the console.
    const connection = () => forgotten.locator("#connection").textContent();
    for (let n = 0; n < 50 && (await connection()) !== "paused: unused for 15 minutes"; n += 1) {
      await forgotten.clock.runFor(2_500);
      await new Promise((resume) => setTimeout(resume, 100));
    }
    const asked = [];
    forgotten.on("request", (request) => asked.push(request.url()));
    await forgotten.clock.runFor(30_000);
    assert.equal(await connection(), "paused: unused for 15 minutes");
    assert.deepEqual(asked, []);
    return [page, forgotten];
  },

  async "the keyboard alone finds, chooses and opens an event"(system) {
    const [event, newer] = [await system.deliver(), await system.deliver()];
    const page = await system.open();
    await page.show("/events");
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForURL(page.base + `/event?id=${newer}`);
    await page.keyboard.press("/");
    await page.keyboard.type(event);
    await page.keyboard.press("Enter");
    await page.waitForURL(page.base + `/event?id=${event}`);
    await page.keyboard.press("?");
    await page.waitForSelector("dialog[open]");
    await page.uncheck("#option-shortcuts");
    await page.keyboard.press("Escape");
    await page.keyboard.press("/");
    assert.notEqual(await page.evaluate(() => document.activeElement.id), "search", "shortcuts are off");
    return [page];
  },

  async "axe finds nothing on any page, light or dark, wide or narrow"(system) {
    const all = await paths(system);
    for (const [colorScheme, width] of [["light", 1280], ["light", 768], ["dark", 360]]) {
      const page = await system.open({ colorScheme, viewport: { width, height: 900 } });
      for (const path of all) {
        await page.show(path);
        if (path === "/") await page.waitForSelector(".charts figure");
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run());
        const found = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join(" | ")}`);
        assert.deepEqual(found, [], `${path} ${colorScheme} ${width}`);
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(overflow <= 0, `${path} is wider than ${width} by ${overflow}`);
        const scrolled = await page.evaluate(() => [...document.querySelectorAll(".table")]
          .filter((table) => table.scrollWidth > table.clientWidth).map((table) => table.getAttribute("aria-label")));
        assert.deepEqual(scrolled, [], `tables of ${path} at ${width}`);
      }
      page.problems = page.problems.filter((problem) => !problem.includes("404"));
      await page.context().close();
    }
    return [];
  },

  async "every page works without the script"(system) {
    const all = await paths(system);
    const page = await system.open({ javaScriptEnabled: false });
    for (const path of all) {
      await page.show(path);
      assert.ok((await page.locator("h1").textContent()).length > 0, path);
    }
    await page.show("/");
    await page.click("text=Show the checks");
    assert.ok(await page.locator("main").textContent());
    page.problems = page.problems.filter((problem) => !problem.includes("404"));
    return [page];
  },
};

// Screenshots of the README's four main pages.
async function update(system) {
  await paths(system);
  for (let n = 0; n < 3; n += 1) await system.deliver();
  const page = await system.open({ viewport: { width: 1100, height: 720 } });
  await page.waitForSelector(".charts figure");
  await page.waitForTimeout(3_000);
  const event = await page.getAttribute('a[href^="/event?id=fynapse"]', "href");
  for (const [name, path] of [["overview", "/"], ["events", "/events"], ["event", event], ["quarantine", "/quarantine"]]) {
    await page.show(path);
    if (path === "/") await page.waitForSelector(".charts figure");
    await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), scale: "css" });
  }
}

const wanted = process.argv.slice(2);
if (wanted[0] === "--list") {
  console.log(Object.keys(stories).join("\n"));
} else {
  const system = await System.start();
  try {
    if (wanted[0] === "--update") {
      await update(system);
    } else {
      const chosen = Object.entries(stories).filter(([name]) => wanted.length === 0 || wanted.some((part) => name.includes(part)));
      assert.ok(chosen.length > 0, "no story has such a name: --list");
      for (const [name, story] of chosen) {
        const started = Date.now();
        try {
          const pages = await story(system);
          for (const page of pages) {
            assert.deepEqual(page.problems, [], "errors in the browser");
            await page.context().close();
          }
          console.log(`ok    ${((Date.now() - started) / 1000).toFixed(1)} s  ${name}`);
        } catch (error) {
          console.log(`FAIL  ${name}\n${error.stack}`);
          process.exitCode = 1;
        }
      }
    }
  } finally {
    await system.stop();
  }
}
