// Opens one page after the other, and writes down what each says of itself at every width.
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 64;
const pen = canvas.getContext("2d", { willReadFrequently: true });

function drawing(font, character) {
  pen.clearRect(0, 0, 64, 64);
  pen.font = font;
  pen.textAlign = "center";
  pen.fillText(character, 32, 44);
  return pen.getImageData(0, 0, 64, 64).data.join();
}

// What no font has is drawn as a character is that stands for nothing in Unicode: as a box, or not at all.
const UNASSIGNED = "\u0378";
const known = {};
function isMissing(font, character) {
  if (/[\p{White_Space}\p{Default_Ignorable_Code_Point}]/u.test(character)) return false;
  known[font] ??= { nothing: drawing(font, UNASSIGNED), found: {} };
  return (known[font].found[character] ??= drawing(font, character) === known[font].nothing);
}

function answer(frame) {
  return new Promise((resolve) => {
    addEventListener("message", (message) => resolve(message.data), { once: true });
    frame.contentWindow.postMessage("measure", "*");
  });
}

async function measured(address) {
  const frame = document.createElement("iframe");
  const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
  frame.src = address;
  frame.style.cssText = "height: 900px; border: 0";
  document.body.append(frame);
  await loaded;
  const found = [];
  for (const width of WIDTHS) {
    frame.style.width = `${width}px`;
    const { characters, ...rest } = await answer(frame);
    const missing = Object.entries(characters).flatMap(([font, each]) => each.filter((one) => isMissing(font, one)));
    found.push({ ...rest, missing: [...new Set(missing)] });
  }
  frame.remove();
  return found;
}

addEventListener("load", async () => {
  const found = [];
  for (const address of PAGES) found.push(await measured(address));
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.replaceChildren(result);
});
