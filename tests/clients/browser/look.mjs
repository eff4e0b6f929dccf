// Looks at a page of a report as people do: in a wide window, at night, on a phone, on paper.
//
//   node look.mjs CHROMIUM PAGE FONT GOLDENS OUT
//
// Fails when the page asks the network for anything, runs a script, is wider than its window or its paper, breaks words letter by letter, or has
// what axe-core finds wrong. Pictures of
// its charts are compared with those in GOLDENS by the share of their pixels that differ; `UPDATE_GOLDENS=1` writes those anew. All pictures
// are left in OUT. GOLDENS may be `none`: then nothing is compared.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { PNG } from "pngjs";

const [, , executablePath, file, font, goldens, out] = process.argv;
const axeSource = fs.readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
// Of the pixels of a picture at half its size, so many may differ by more than a shade: fonts are smoothed differently by different builds.
const MOST_DIFFERENT = 0.02;
const SHADE = 60;
const VIEWS = [
  { name: "light", width: 1100, height: 900, colorScheme: "light" },
  { name: "dark", width: 1100, height: 900, colorScheme: "dark" },
  { name: "phone", width: 375, height: 800, colorScheme: "light" },
  { name: "phone-dark", width: 375, height: 800, colorScheme: "dark" },
  { name: "print", width: 794, height: 1123, colorScheme: "dark", media: "print" },
];

const wrong = [];
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--font-render-hinting=none", "--disable-lcd-text"] });
for (const view of VIEWS) {
  await look(view);
}
await browser.close();
if (wrong.length > 0) {
  console.log(wrong.join("\n"));
  process.exit(1);
}
console.log(`looked at ${VIEWS.length} views`);

async function look({ name, width, height, colorScheme, media }) {
  const say = (text) => wrong.push(`${name}: ${text}`);
  // The policy of the page would keep axe-core and the font out; that it holds is checked by what the page itself asks for.
  const context = await browser.newContext({ viewport: { width, height }, colorScheme, bypassCSP: true });
  const page = await context.newPage();
  const own = pathToFileURL(file).href;
  page.on("request", (request) => request.url() !== own && !request.url().startsWith("data:") && say(`asks for ${request.url()}`));
  page.on("pageerror", (error) => say(`throws ${error}`));
  page.on("dialog", (dialog) => (say(`opens a dialog: ${dialog.message()}`), dialog.dismiss()));
  page.on("console", (message) => message.type() === "error" && say(`complains: ${message.text()}`));
  await page.emulateMedia({ media: media ?? "screen", colorScheme });
  await page.goto(own);
  const face = fs.readFileSync(font).toString("base64");
  await page.addStyleTag({ content: `@font-face { font-family: Roboto; src: url(data:font/ttf;base64,${face}); }` });
  await page.evaluate(() => document.fonts.ready);

  const excess = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (excess > 0) say(`is ${excess} pixels wider than its window`);
  const scripts = await page.evaluate(() => document.querySelectorAll("script, iframe, object, embed, link, img, base").length);
  if (scripts > 0) say(`has ${scripts} elements that load or run something`);
  const cut = await page.evaluate(cutTexts);
  for (const text of cut) say(`has a label beyond its drawing: ${text}`);
  for (const text of await page.evaluate(tornTexts)) say(`breaks words letter by letter: ${text}`);
  await page.screenshot({ path: path.join(out, `${name}.png`), fullPage: true });
  const charts = page.locator('section[aria-labelledby="charts"]');
  if ((await charts.count()) > 0) compare(name, await charts.screenshot(), say);
  if (!media) {
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
    await page.evaluate(axeSource);
    const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    for (const { id, help, nodes } of result.violations) {
      say(`axe ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" … ")} (${nodes.length} places)`);
    }
  } else {
    await page.pdf({ path: path.join(out, "print.pdf"), preferCSSPageSize: true });
  }
  await context.close();
}

// Runs in the page: labels that are not wholly inside their drawing.
function cutTexts() {
  const found = [];
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    if (frame.width === 0) continue;
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      const slack = 3;
      if (box.left < frame.left - slack || box.right > frame.right + slack || box.top < frame.top - slack || box.bottom > frame.bottom + slack) {
        found.push(text.textContent.trim());
      }
    }
  }
  return found.slice(0, 5);
}

// Runs in the page: cells of tables with fewer than four letters a line.
function tornTexts() {
  const found = [];
  for (const cell of document.querySelectorAll("th, td")) {
    const range = document.createRange();
    range.selectNodeContents(cell);
    const lines = Math.round(range.getBoundingClientRect().height / parseFloat(getComputedStyle(cell).lineHeight));
    if (lines > 3 && cell.textContent.length < 4 * lines) found.push(cell.textContent);
  }
  return found.slice(0, 5);
}

function compare(name, bytes, say) {
  const shown = halved(PNG.sync.read(bytes));
  fs.writeFileSync(path.join(out, `charts-${name}.png`), PNG.sync.write(shown));
  if (goldens === "none") return;
  const golden = path.join(goldens, `charts-${name}.png`);
  if (process.env.UPDATE_GOLDENS) fs.writeFileSync(golden, PNG.sync.write(shown, { colorType: 2, filterType: 4, deflateLevel: 9 }));
  if (!fs.existsSync(golden)) return say(`has no golden picture ${golden}`);
  const wanted = PNG.sync.read(fs.readFileSync(golden));
  if (Math.abs(wanted.width - shown.width) > 2 || Math.abs(wanted.height - shown.height) > 8) {
    return say(`has charts of ${shown.width} × ${shown.height}, not ${wanted.width} × ${wanted.height}`);
  }
  let different = 0;
  const [width, height] = [Math.min(wanted.width, shown.width), Math.min(wanted.height, shown.height)];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [a, b] = [4 * (y * wanted.width + x), 4 * (y * shown.width + x)];
      const difference = [0, 1, 2].map((channel) => Math.abs(wanted.data[a + channel] - shown.data[b + channel]));
      if (Math.max(...difference) > SHADE) different++;
    }
  }
  const share = different / (width * height);
  if (share > MOST_DIFFERENT) say(`has charts of which ${(100 * share).toFixed(1)} % differ from ${golden}`);
}

function halved(image) {
  const half = new PNG({ width: image.width >> 1, height: image.height >> 1 });
  for (let y = 0; y < half.height; y++) {
    for (let x = 0; x < half.width; x++) {
      for (let channel = 0; channel < 4; channel++) {
        const at = (dx, dy) => image.data[4 * ((2 * y + dy) * image.width + 2 * x + dx) + channel];
        half.data[4 * (y * half.width + x) + channel] = (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) >> 2;
      }
    }
  }
  return half;
}
