// Opens one page after the other at each width, and writes down what each says of itself.
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

function measured(address, width) {
  return new Promise((resolve) => {
    const frame = document.createElement("iframe");
    frame.style.cssText = `width: ${width}px; height: 900px; border: 0`;
    addEventListener("message", (message) => {
      frame.remove();
      const { characters, ...found } = message.data;
      found.missing = Object.entries(characters).flatMap(([font, each]) => each.filter((one) => isMissing(font, one)));
      resolve(found);
    }, { once: true });
    frame.src = address;
    document.body.append(frame);
  });
}

addEventListener("load", async () => {
  const found = [];
  for (const [address, width] of PAGES) found.push(await measured(address, width));
  const result = document.createElement("pre");
  result.id = "found";
  result.textContent = JSON.stringify(found);
  document.body.replaceChildren(result);
});
