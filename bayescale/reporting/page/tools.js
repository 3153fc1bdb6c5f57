// What the scripts of a page share: numbers as bayescale/reporting/words.py writes them, draws, pictures as files, and
// what a picture shows under the pointer.
const bayescaleTools = (root) => {
  const W = 440, H = 330, L = 54, R = 14, $ = (id) => root.querySelector("#" + id);

  const counted = (v, digits = 3) => {
    const rounded = Number(Math.abs(v).toPrecision(digits));
    if (rounded >= 1 && rounded < 1000) return rounded < 10 ** digits ? String(Number(v.toPrecision(digits))) : v.toFixed(0);
    for (const [name, size] of [["T", 1e12], ["B", 1e9], ["M", 1e6], ["k", 1e3]]) {
      if (size <= rounded && rounded < 1000 * size) {
        const x = Number((v / size).toPrecision(digits));
        return (v / size).toFixed(Math.max(digits - String(Math.trunc(Math.abs(x))).length, 0)) + name;
      }
    }
    return number(v, digits);
  };
  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const number = (v, digits = 3) => {
    if (!Number.isFinite(v)) return "–";
    if (v === 0) return "0";
    if (Math.abs(v) >= 1e-4 && Math.abs(v) < 1e6)
      return (Math.abs(v) < 10 ** (digits - 1) ? v.toPrecision(digits) : Math.round(v).toLocaleString("en-US")).replace("-", "−");
    const [m, e] = v.toExponential(digits - 1).split("e");
    const raised = String(Math.abs(+e)).split("").map((c) => RAISED[+c]).join("");
    return (m.replace(/\.?0+$/, "") + "×10" + (+e < 0 ? "⁻" : "") + raised).replace("-", "−");
  };
  const percent = (v) => {
    if (!Number.isFinite(v)) return "–";
    const share = 100 * v;
    return (Math.abs(v) < 1 ? String(Number(share.toPrecision(2))) : share.toFixed(0)).replace("-", "−") + "%";
  };
  const loss = (v) => v.toFixed(3);

  // Draws, from base64 of numbers in single precision.
  const numbers = (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return Float64Array.from(new Float32Array(bytes.buffer));
  };
  const mean = (x) => { let s = 0; for (const v of x) s += v; return s / x.length; };
  const quantile = (x, q) => {
    const sorted = Float64Array.from(x).sort(), at = q * (sorted.length - 1), i = Math.floor(at);
    return sorted[i] + (at - i) * ((sorted[i + 1] ?? sorted[i]) - sorted[i]);
  };

  // What is shown, as files.
  const offer = (name, address) => { const a = document.createElement("a"); a.href = address; a.download = name; a.click(); };
  const csv = (head, rows) => offer("shown.csv", URL.createObjectURL(new Blob([[head, ...rows].map((r) => r.join(",")).join("\n") + "\n"], { type: "text/csv" })));
  const STYLED = ["fill", "stroke", "stroke-width", "stroke-dasharray", "fill-opacity", "font-size", "font-family", "opacity"];
  const png = (id) => {
    const svg = $(id), copy = svg.cloneNode(true), from = [...svg.querySelectorAll("*")];
    [...copy.querySelectorAll("*")].forEach((to, i) => { const style = getComputedStyle(from[i]); STYLED.forEach((name) => to.style.setProperty(name, style.getPropertyValue(name))); });
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg"); copy.setAttribute("width", 2 * W); copy.setAttribute("height", 2 * H);
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas"); canvas.width = 2 * W; canvas.height = 2 * H;
      const context = canvas.getContext("2d");
      context.fillStyle = getComputedStyle(document.body).backgroundColor; context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0); offer(id + ".png", canvas.toDataURL("image/png"));
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(copy));
  };

  // Where the pointer is on a picture, in its own unit; the words about it stand below the picture.
  const hover = (name, write) => {
    const svg = $("picture-" + name), fill = (text) => { $("hover-" + name).textContent = text; };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * W;
      fill(at < L || at > W - R ? "" : write(at, ((event.clientY - box.top) / box.height) * H));
    });
    svg.addEventListener("pointerleave", () => fill(""));
  };
  // The values of a picture's curves at a place of its logarithmic axis.
  const curves = (name, at) => {
    const svg = $("picture-" + name), [low, high] = svg.dataset.x.split(" ").map(Number), [least, most] = svg.dataset.y.split(" ").map(Number);
    const value = (one) => {
      const points = (one.getAttribute("points") || one.getAttribute("d")).match(/-?[\d.]+/g).map(Number);
      let k = 0;
      while (k + 4 < points.length && points[k + 2] < at) k += 2;
      const [a, b, c, d] = points.slice(k, k + 4), share = Math.min(Math.max((at - a) / (c - a), 0), 1);
      return least + ((H - 44 - (b + share * (d - b))) / (H - 44 - 34)) * (most - least);
    };
    const lines = (kind) => [...svg.querySelectorAll(kind)].map(value);
    return { x: low * (high / low) ** ((at - L) / (W - L - R)), mean: lines(".mean")[0], edges: lines(".edge") };
  };

  return { counted, number, percent, loss, numbers, mean, quantile, offer, csv, png, hover, curves };
};
