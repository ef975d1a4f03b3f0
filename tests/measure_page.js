// Measures the page it is put into whenever it is asked, and sends back what it found, in CSS pixels.
window.refused = [];
addEventListener("securitypolicyviolation", (event) => window.refused.push(event.blockedURI));

addEventListener("message", () => {
  const found = { width: innerWidth, wide: [], scrolling: [], cut: [], apart: [], characters: {}, requests: [] };
  const page = document.documentElement.clientWidth;
  const name = (element) => {
    const words = (element.textContent || "").replace(/\s+/g, " ").trim().slice(0, 60);
    const holder = element.closest("[id]");
    return `${element.tagName.toLowerCase()} in #${holder ? holder.id : ""}: ${words}`;
  };
  const shown = (element) => element.getClientRects().length > 0;

  if (document.documentElement.scrollWidth > page) found.wide.push(`the page by ${document.documentElement.scrollWidth - page} px`);
  const blocks = "h1, h2, h3, p, math, table, pre, figure, svg, .equation, .note, .number, nav a";
  for (const element of document.querySelectorAll(blocks)) {
    if (!shown(element) || element.parentElement.closest(".listing, .scroll, svg")) continue;
    const over = element.getBoundingClientRect().right - page;
    if (over > 0.5) found.wide.push(`${name(element)} by ${over.toFixed(1)} px`);
  }
  for (const element of document.querySelectorAll(".formula, .scroll")) {
    const over = element.scrollWidth - element.clientWidth;
    if (over > 0) found.scrolling.push(`${name(element)} by ${over} px`);
    const room = element.getBoundingClientRect();
    for (const math of element.matches(".formula") ? element.querySelectorAll("math") : []) {
      const box = math.getBoundingClientRect();
      if (shown(math) && (box.top < room.top - 0.5 || box.bottom > room.bottom + 0.5)) found.cut.push(name(element));
    }
  }

  for (const head of document.querySelectorAll(".formula mtd.head")) {
    if (!shown(head) || !head.lastElementChild) continue;
    const gap = head.getBoundingClientRect().right - head.lastElementChild.getBoundingClientRect().right;
    if (gap > 2) found.apart.push(`${name(head)} by ${gap.toFixed(1)} px`);
  }

  // A variable of one letter is drawn with another character: that for an italic letter in mathematics.
  const italic = (letter) => {
    const code = letter.codePointAt(0);
    const runs = [[0x41, 0x5a, 0x1d434], [0x61, 0x7a, 0x1d44e], [0x391, 0x3a9, 0x1d6e2], [0x3b1, 0x3c9, 0x1d6fc]];
    const alone = { h: 0x210e, "∂": 0x1d715, "ϵ": 0x1d716, "ϑ": 0x1d717, "ϰ": 0x1d718, "ϕ": 0x1d719, "ϱ": 0x1d71a, "ϖ": 0x1d71b };
    const run = runs.find(([first, last]) => first <= code && code <= last);
    return String.fromCodePoint(alone[letter] ?? (run ? run[2] + code - run[0] : code));
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const parent = text.parentElement;
    if (!text.data.trim() || parent.closest("style, script") || !shown(parent)) continue;
    const style = getComputedStyle(parent);
    const letters = [...text.data];
    const drawn = style.textTransform === "math-auto" && letters.length === 1 ? letters.map(italic) : letters;
    const font = `${style.fontStyle} ${style.fontWeight} 32px ${style.fontFamily}`;
    found.characters[font] = [...new Set([...(found.characters[font] || []), ...drawn])];
  }
  found.text = document.body.innerText;
  found.mathematics = [...document.querySelectorAll("math")].map((each) => each.textContent).join("");
  found.requests = [...window.refused, ...performance.getEntriesByType("resource").map((each) => each.name)];
  parent.postMessage(found, "*");
});
