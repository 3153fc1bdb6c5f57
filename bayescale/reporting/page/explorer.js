// The sliders of a report: they decide again by law.js and write sentence, cards, pictures and tables of the first page.
const bayescaleExplorer = (root, data) => {
  const law = bayescaleLaw(data.table), words = data.words, $ = (id) => root.querySelector("#" + id);
  const W = 440, H = 330, L = 54, R = 14, T = 34, B = 44;
  const TAILS = data.tails;

  const { counted, number, percent, loss, csv, png, hover, curves } = bayescaleTools(root);
  const say = (name, values = {}) => words[name].replace(/{(\w+)}/g, (_, key) => values[key]);
  const read = (text) => {
    const match = /^\s*([\d.,_]*\d[\d.,_]*(?:e[+-]?\d+)?)\s*([kmbtq]?)\s*$/i.exec(text || "");
    if (!match) return NaN;
    return Number(match[1].replace(/[,_]/g, "")) * ({ k: 1e3, m: 1e6, b: 1e9, t: 1e12, q: 1e15 }[match[2].toLowerCase()] || 1);
  };

  // State: what the sliders say. It is kept in the address of the page.
  const initial = () => ({ flops: data.flops, unit: "FLOP", price: data.hardware ? data.hardware.price : 0,
    mfu: data.hardware ? data.hardware.utilisation : 0, serve: 0, tail: 1, plan: 0, ratio: 0, ...(data.start || {}) });
  let state = initial(), touched = false;
  const [low, high] = [data.flops / data.times, data.flops * data.times];
  const clamp = (x, a, b) => Math.min(Math.max(x, a), b);
  // Accelerator-hours and dollars are those of the hardware's card, at other prices and utilisations.
  const perHour = () => data.hardware.flops_per_hour * (state.mfu / data.hardware.utilisation);
  const inUnit = () => (state.unit === "FLOP" ? 1 : state.unit === "hours" ? perHour() : perHour() / state.price);

  const readHash = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    const next = initial();
    for (const [key, value] of given) {
      if (key === "unit" && ["FLOP", "hours", "dollars"].includes(value)) next.unit = value;
      else if (key in next && Number.isFinite(+value) && +value >= 0) next[key] = +value;
    }
    next.flops = clamp(next.flops, low, high);
    if (!TAILS.includes(next.tail)) next.tail = 1;
    if (!data.hardware) next.unit = "FLOP";
    return { next, given: [...given].length > 0 };
  };
  const writeHash = () => {
    if (!data.hash) return;
    const start = initial(), kept = Object.entries(state).filter(([key, value]) => value !== start[key]);
    const text = kept.map(([key, value]) => `${key}=${typeof value === "number" ? String(Number(value.toPrecision(12))).replace("+", "") : value}`).join("&");
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  };

  const fill = (id, text) => { const to = $(id); if (to) to.textContent = text; };
  const card = (name, value, range) => { fill(`card-${name}-value`, value); fill(`card-${name}-range`, range); };

  const budgetWords = () => {
    const spent = `${number(state.flops)} FLOP`;
    if (state.unit === "FLOP") return spent;
    const amount = counted(state.flops / inUnit());
    return `${state.unit === "dollars" ? "$" + amount : amount + " accelerator-hours"} (${spent})`;
  };

  const costCard = (flops) => {
    if (!data.hardware) return card("cost", `${number(flops)} FLOP`, data.noHardware);
    const by = (flops / data.flops) * (data.hardware.utilisation / state.mfu), h = data.hardware.hours;
    const days = (q) => counted((h[q] * by) / 24), name = data.hardware.accelerator;
    const dollars = data.hardware.dollars, at = dollars ? by * (state.price / data.hardware.price) : 0;
    card("cost", `${days("q50")} ${name}-days`, (dollars
      ? say("cost_range", { dollars: `$${counted(dollars.q50 * at)} (90% interval $${counted(dollars.q05 * at)} to $${counted(dollars.q95 * at)})`, as_of: data.hardware.as_of })
      : say("hours_range", { low: days("q05"), high: days("q95") })) + (data.hardware.days ? say("days", { days: counted(data.hardware.days.q50 * by), devices: data.hardware.devices }) : ""));
  };

  // Loss of a run at the best split by compute, and its quantile k at the budget.
  let known = null;
  const curve = () => (known = known || law.curve());
  const runLoss = (k) => law.interpolate(data.table.ln_flops, curve().map((r) => r.q[k]), Math.log(state.flops));

  const cards = (found, flops, life) => {
    const open = !found.settled, times = (life && !open ? 6 * life.params * life.tokens : flops) / data.largest;
    card("loss", open ? "not settled" : `${loss(found.expected_loss)} nats/token`, say("run_range", { low: loss(runLoss(0)), high: loss(runLoss(4)) }) + say("loss_range", { low: loss(found.loss.q05), high: loss(found.loss.q95) }));
    if (life && !open) card("ratio", number(life.tokens / life.params), say("served_ratio", { low: number(life.tokens_q05 / life.params), high: number(life.tokens_q95 / life.params) }));
    else card("ratio", open ? "not settled" : number(found.tokens / found.params), say("ratio_range", { low: number(found.best_ratio.q05), high: number(found.best_ratio.q95) }));
    costCard(life && !open ? life.cost : flops);
    if (life && !open) fill("card-cost-range", say("served_cost") + $("card-cost-range").textContent);
    if (times <= 1.0000001) card("reach", "inside the runs", "no more compute than your largest run");
    else card("reach", `${counted(times, 2)}×`, say("reach_over", { largest: number(data.largest) }) + (times > data.far ? "; " + say("scenario") : ""));
    const trust = data.trust.find((row) => times <= row.times * 1.0000001);
    card("trust", trust.value, trust.range);
  };

  const sentence = (found, life) => {
    const values = { budget: budgetWords(), params: counted(found.params), tokens: counted(found.tokens) };
    if (!found.settled) {
      fill("headline", say("unsettled", { ...values, low: counted(found.best_params.q05), high: counted(found.best_params.q95) }));
      fill("confidence", say("ranges", { ratio_low: number(found.best_ratio.q05), ratio_high: number(found.best_ratio.q95) }));
    } else if (life) {
      fill("headline", say("lifetime", { demand: counted(state.serve), like: counted(life.like), params: counted(life.params),
        tokens: counted(life.tokens), tokens_low: counted(life.tokens_q05), tokens_high: counted(life.tokens_q95) }));
      fill("confidence", say("saving", { right: data.right, cost: number(life.cost), saving: percent(life.saving), like: counted(life.like), low: counted(life.best_q05), high: counted(life.best_q95), scope: say("scope_law") }));
    } else {
      const safe = Number.isFinite(found.safe_low) ? say("safe", { low: counted(found.safe_low), high: counted(found.safe_high) }) : say("unsafe");
      fill("headline", say("allocation", { ...values, low: counted(found.best_params.q05), high: counted(found.best_params.q95), free: "" }));
      fill("confidence", say("confidence", { right: data.right, safe, waste: percent(found.waste_fraction), most: percent(found.waste_q95) }));
    }
    const reasons = [];
    if (found.settled) {
      if (state.flops / data.largest > data.far) reasons.push(say("far"));
      const most = Math.max(found.waste_fraction, found.waste_q95);
      if (most > data.table.tolerance)
        reasons.push(say("wide", { low: counted(found.best_ratio.q05), high: counted(found.best_ratio.q95), most: counted(100 * most, 2), tolerance: counted(100 * data.table.tolerance, 1) }));
      reasons.push(...data.reasons);
    }
    const name = !found.settled ? "open" : reasons.length ? "care" : "good";
    if ($("depends")) fill("depends", data.depends[+(life !== null || Math.abs(state.flops / data.flops - 1) > 1e-9)]);
    $("verdict").className = "verdict " + name;
    fill("state-word", say(name));
    fill("state-why", reasons.length ? ": " + reasons.join("; ") : "");
  };

  // Pictures, with the classes that the page's style colours.
  const clear = (id) => { const svg = d3.select($(id)); svg.selectAll("*").remove(); return svg; };
  // A tick's text ends at it where the picture's edge would cut it. Texts that would run into the one before are left out.
  const tickTexts = (svg, ticks, at, up, write) => {
    let last = null;
    for (const tick of ticks) {
      const text = write(tick), wide = 8 * (text.length + text.includes("×")), edge = at(tick) > W - R - 12, middle = edge ? at(tick) - wide / 2 : at(tick);
      if (last && Math.abs(middle - last.middle) < (wide + last.wide) / 2) continue;
      last = { middle, wide };
      svg.append("text").attr("class", "tick").attr("x", at(tick)).attr("y", up).attr("text-anchor", edge ? "end" : "middle").text(text);
    }
  };
  const axes = (svg, x, y, xName, yName, writeX, writeY, ticks) => {
    const bottom = H - B;
    svg.attr("data-x", x.domain().join(" ")).attr("data-y", y.domain().join(" "));
    for (const tick of y.ticks(6)) {
      svg.append("line").attr("class", "grid").attr("x1", L).attr("x2", W - R).attr("y1", y(tick)).attr("y2", y(tick));
      svg.append("text").attr("class", "tick").attr("x", L - 6).attr("y", y(tick) + 4).attr("text-anchor", "end").text(writeY(tick));
    }
    tickTexts(svg, ticks, x, bottom + 16, writeX);
    svg.append("line").attr("class", "axis").attr("x1", L).attr("x2", W - R).attr("y1", bottom).attr("y2", bottom);
    svg.append("text").attr("class", "tick").attr("x", (L + W - R) / 2).attr("y", H - 8).attr("text-anchor", "middle").text(xName);
    svg.append("text").attr("class", "tick").attr("transform", `translate(13 ${(T + bottom) / 2}) rotate(-90)`).attr("text-anchor", "middle").text(yName);
  };
  const logTicks = (a, b) => {
    for (const steps of [[1, 1.5, 2, 3, 4, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      const found = [];
      for (let d = Math.floor(Math.log10(a)); d <= Math.ceil(Math.log10(b)); d++) for (const s of steps) if (s * 10 ** d >= a && s * 10 ** d <= b) found.push(s * 10 ** d);
      if (found.length <= 7) return found;
      if (steps.length === 1) return found.filter((_, i) => i % Math.ceil(found.length / 7) === 0);
    }
    return [];
  };
  const upright = (svg, kind, at, label, row = 0) => {
    if (!(at >= L && at <= W - R)) return;
    svg.append("line").attr("class", kind).attr("x1", at).attr("x2", at).attr("y1", T).attr("y2", H - B);
    svg.append("text").attr("class", "label").attr("x", at + (at > 0.6 * W ? -4 : 4)).attr("y", T + 12 + 14 * row).attr("text-anchor", at > 0.6 * W ? "end" : "start").text(label);
  };
  const bands = (svg, x, y, rows) => {
    const cut = (v) => y(clamp(v, y.domain()[0], y.domain()[1]));
    for (const [kind, a, b] of [["band90", 0, 4], ["band50", 1, 3]])
      svg.append("path").attr("class", kind).attr("d", d3.area().x((r) => x(r.x)).y0((r) => cut(r.q[a])).y1((r) => cut(r.q[b]))(rows));
    for (const k of [0, 1, 3, 4]) svg.append("path").attr("class", "edge").attr("d", d3.line().x((r) => x(r.x)).y((r) => cut(r.q[k]))(rows));
  };
  const table = (id, rows) => {
    d3.select($(id)).selectAll("tr").remove();
    for (const row of rows) {
      const line = d3.select($(id)).append("tr");
      row.forEach((cell) => line.append("td").attr("class", "n").text(cell));
    }
  };

  // Of the marks that a picture may have, only those that it has now are explained.
  const explain = (id) => {
    const kinds = new Set([...$(id).querySelectorAll("[class]")].map((one) => one.getAttribute("class")));
    $(id).closest("figure").querySelectorAll("[data-kind]").forEach((one) => { one.hidden = !kinds.has(one.dataset.kind); });
  };

  let shownA = [], shownB = [];
  const planOf = () => (state.plan ? state.plan : state.ratio ? Math.sqrt(state.flops / (6 * state.ratio)) : 0);
  const pictureA = (found, life) => {
    const svg = clear("picture-a"), n = found.sizes.length;
    const mean = Array.from({ length: n }, (_, j) => law.mean(found.waste(j)));
    const leastMean = Math.min(...mean), most = Math.min(Math.max(0.2, 3 * leastMean), 2), plan = planOf();
    let seen = mean.map((v, j) => j).filter((j) => mean[j] <= most);
    if (!seen.length) seen = mean.map((_, j) => j);
    const rows = seen.map((j) => ({ j, x: found.sizes[j], q: [0.05, 0.25, 0.5, 0.75, 0.95].map((q) => law.quantile(found.waste(j), q)), mean: mean[j] }));
    const x = d3.scaleLog().domain([rows[0].x, rows[rows.length - 1].x]).range([L, W - R]);
    const y = d3.scaleLinear().domain([0, most]).range([H - B, T]);
    const ends = [rows[0].x, rows[rows.length - 1].x];
    axes(svg, x, y, "parameters", "extra compute", counted, percent, logTicks(...ends));
    if (Number.isFinite(found.safe_low)) svg.append("rect").attr("class", "safe").attr("x", x(Math.max(found.safe_low, ends[0]))).attr("width", Math.max(0, x(Math.min(found.safe_high, ends[1])) - x(Math.max(found.safe_low, ends[0])))).attr("y", T).attr("height", H - B - T);
    bands(svg, x, y, rows);
    svg.append("path").attr("class", "mean").attr("d", d3.line().x((r) => x(r.x)).y((r) => y(Math.min(r.mean, most)))(rows));
    if (found.settled) upright(svg, "mark", x(found.params), counted(found.params));
    if (plan) upright(svg, "plan", x(plan), "your plan", 1);
    const tokens = state.flops / 6;
    tickTexts(svg, logTicks(tokens / ends[1], tokens / ends[0]).filter((t) => x(tokens / t) > L + 18), (t) => x(tokens / t), T - 6, counted);
    svg.append("text").attr("class", "tick").attr("x", (L + W - R) / 2).attr("y", 11).attr("text-anchor", "middle").text("tokens (fewer for larger sizes)");
    shownA = Array.from({ length: 9 }, (_, k) => rows[Math.trunc(((rows.length - 1) / 8) * k)]);
    table("table-a", shownA.map((r) => [counted(r.x), counted(tokens / r.x), number(tokens / r.x ** 2), percent(r.mean), percent(r.q[0]), percent(r.q[4])]));
    $("picture-a").setAttribute("aria-label", found.settled ? `expected extra compute by size: least at ${counted(found.params)} parameters` : "expected extra compute by size: no size is settled");
    explain("picture-a");
    fill("note-a", found.settled ? say(life ? "note_life" : "note_a", { params: counted(found.params) }) : say("note_open"));
  };
  const pictureB = (found) => {
    const most = 10 * Math.max(state.flops, data.largest), rows = curve().filter((r) => r.flops <= most).map((r) => ({ x: r.flops, q: r.q }));
    const svg = clear("picture-b"), losses = data.runs.map((r) => r[1]).sort((a, b) => a - b);
    const bottom = Math.min(...rows.map((r) => r.q[0])), top = Math.max(...rows.map((r) => r.q[4]), losses.length ? d3.quantileSorted(losses, 0.98) : 0), pad = 0.04 * (top - bottom);
    const x = d3.scaleLog().domain([rows[0].x, rows[rows.length - 1].x]).range([L, W - R]);
    const y = d3.scaleLinear().domain([bottom - pad, top + pad]).range([H - B, T]);
    axes(svg, x, y, "compute (FLOP)", "loss (nats/token)", (v) => number(v), (v) => v.toFixed(top - bottom > 1 ? 1 : 2), logTicks(rows[0].x, rows[rows.length - 1].x));
    bands(svg, x, y, rows);
    svg.append("path").attr("class", "mean").attr("d", d3.line().x((r) => x(r.x)).y((r) => y(r.q[2]))(rows));
    svg.selectAll("circle").data(data.runs.filter((r) => r[1] <= top + pad && r[1] >= bottom - pad)).enter().append("circle").attr("class", (r) => "run " + r[2]).attr("cx", (r) => x(r[0])).attr("cy", (r) => y(r[1])).attr("r", 3);
    upright(svg, "rule", x(data.largest), "largest run");
    upright(svg, "mark", x(state.flops), "budget", 1);
    shownB = rows;
    explain("picture-b");
    table("table-b", rows.map((r) => [number(r.x), ...r.q.map(loss)]));
    fill("note-b", say("note_b", { flops: number(state.flops), low: loss(runLoss(0)), high: loss(runLoss(4)), largest: data.largestRun }));
  };

  const planWords = (found) => {
    const plan = planOf();
    if (!plan) return fill("plan-words", "");
    let k = 0;
    found.sizes.forEach((v, j) => { if (Math.abs(Math.log(v / plan)) < Math.abs(Math.log(found.sizes[k] / plan))) k = j; });
    if (Math.abs(Math.log(found.sizes[k] / plan)) > 0.1) return fill("plan-words", say("outside"));
    const waste = found.waste(k);
    fill("plan-words", say("plan", { right: data.right, params: counted(plan), tokens: counted(state.flops / (6 * plan)), waste: percent(law.mean(waste)), low: percent(law.quantile(waste, 0.05)), high: percent(law.quantile(waste, 0.95)) }));
  };

  const printed = () => {
    const parts = [`budget ${budgetWords()}`];
    if (data.hardware) parts.push(`$${number(state.price)} per ${data.hardware.accelerator}-hour, utilisation ${percent(state.mfu)}`);
    parts.push(state.serve ? `${counted(state.serve)} tokens served` : "no tokens served", state.tail === 1 ? say("neutral") : say("cautious", { tail: percent(state.tail) }));
    fill("printed", "Set: " + parts.join("; ") + ".");
  };

  // Sliders and boxes show the state.
  const POSITIONS = 200;
  const slide = (value, a, b) => Math.round((POSITIONS * Math.log(value / a)) / Math.log(b / a));
  const slid = (at, a, b) => a * (b / a) ** (at / POSITIONS);
  const set = (id, value) => { const to = $(id); if (to && to !== to.getRootNode().activeElement) to.value = value; };
  const SERVE = [1e9, 1e15];
  const show = () => {
    set("budget-slider", slide(state.flops, low, high));
    set("budget-box", state.unit === "FLOP" ? Number(state.flops.toPrecision(4)).toExponential().replace("+", "") : counted(state.flops / inUnit()));
    set("budget-unit", state.unit);
    set("price-slider", state.price ? slide(state.price, 0.2, 20) : 0); set("price-box", Number(state.price.toPrecision(3)));
    set("mfu-slider", Math.round(100 * state.mfu)); set("mfu-box", Number((100 * state.mfu).toPrecision(3)));
    set("serve-slider", state.serve ? 1 + slide(state.serve, ...SERVE) : 0); set("serve-box", state.serve ? counted(state.serve) : "0");
    set("tail-choice", String(state.tail));
    set("plan-box", state.plan ? counted(state.plan) : "");
    $("budget-slider").setAttribute("aria-valuetext", budgetWords());
    $("serve-slider").setAttribute("aria-valuetext", state.serve ? counted(state.serve) + " tokens" : "none");
    if ($("price-slider")) $("price-slider").setAttribute("aria-valuetext", `$${number(state.price)}`);
  };

  let last = null;
  const draw = () => {
    const found = law.allocation(state.flops, state.tail), life = state.serve ? law.lifetime(state.flops, state.serve, state.tail) : null;
    last = { state: { ...state }, allocation: found, lifetime: life };
    sentence(found, life); cards(found, state.flops, life); planWords(found); pictureA(found, life); pictureB(found); printed();
    fill("slid", say("slid", { draws: String(data.table.draws) }));
  };
  let waiting = 0;
  const changed = (part) => {
    Object.assign(state, part);
    state.flops = clamp(state.flops, low, high);
    touched = true;
    show(); writeHash();
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(draw);
  };

  const on = (id, event, act) => { const to = $(id); if (to) to.addEventListener(event, () => act(to)); };
  const valid = (to, value, good) => { to.setAttribute("aria-invalid", String(!good)); return good; };
  on("budget-slider", "input", (to) => changed({ flops: slid(+to.value, low, high) }));
  on("budget-box", "change", (to) => { const v = read(to.value) * inUnit(); if (valid(to, v, v >= low && v <= high)) changed({ flops: v }); });
  on("budget-unit", "change", (to) => changed({ unit: to.value }));
  const priced = (part) => { const flops = state.unit === "FLOP" ? null : state.flops / inUnit(); Object.assign(state, part); changed(flops === null ? {} : { flops: flops * inUnit() }); };
  on("price-slider", "input", (to) => priced({ price: slid(+to.value, 0.2, 20) }));
  on("price-box", "change", (to) => { const v = read(to.value); if (valid(to, v, v > 0)) priced({ price: v }); });
  on("mfu-slider", "input", (to) => priced({ mfu: +to.value / 100 }));
  on("mfu-box", "change", (to) => { const v = read(to.value) / 100; if (valid(to, v, v > 0 && v <= 1)) priced({ mfu: v }); });
  on("serve-slider", "input", (to) => changed({ serve: +to.value ? slid(+to.value - 1, ...SERVE) : 0 }));
  on("serve-box", "change", (to) => { const v = read(to.value); if (valid(to, v, v >= 0 && v <= 1e16)) changed({ serve: v }); });
  on("tail-choice", "change", (to) => changed({ tail: +to.value }));
  on("plan-box", "change", (to) => { const v = to.value.trim() ? read(to.value) : 0; if (valid(to, v, v >= 0)) changed({ plan: v, ratio: 0 }); });
  on("to-optimal", "click", () => changed({ serve: 0, tail: 1, plan: 0, ratio: 0 }));
  on("to-twenty", "click", () => changed({ plan: 0, ratio: 20 }));
  on("to-plan", "click", () => { const box = $("plan-box"); box.focus(); if (!state.plan) changed({ plan: Number((last || { allocation: law.allocation(state.flops) }).allocation.params.toPrecision(3)), ratio: 0 }); box.select(); });

  // What is shown, as files.
  on("csv-a", "click", () => { if (!last) draw(); csv(["params", "tokens", "expected_extra", "q05", "q95"], shownA.map((r) => [r.x, state.flops / 6 / r.x, r.mean, r.q[0], r.q[4]])); });
  on("csv-b", "click", () => { if (!last) draw(); csv(["flops", "q05", "q25", "q50", "q75", "q95"], shownB.map((r) => [r.x, ...r.q])); });
  on("png-a", "click", () => png("picture-a"));
  on("png-b", "click", () => png("picture-b"));
  const under = (name, words, write, of) => hover(name, (at) => {
    const found = curves(name, at);
    return say(words, { x: write(found.x), mean: of(found.mean), low: of(found.edges[0]), high: of(found.edges[3]) });
  });
  under("a", "under_a", counted, percent);
  under("b", "under_b", (v) => number(v), loss);

  $("controls").hidden = false;
  root.querySelectorAll(".save").forEach((one) => { one.hidden = false; });
  const follow = () => { const { next, given } = readHash(); if (given || touched) { state = next; touched = true; show(); draw(); } else show(); };
  if (data.hash) { follow(); addEventListener("hashchange", follow); } else show();
  printed();
  return { law, changed, get last() { return last; }, get state() { return { ...state }; }, hash: readHash, words: { counted, number, percent } };
};
