// What an attitude to risk would choose of any decision's actions, and what another action costs, on the numbers of
// bayescale/decisions/thinned.py. tests/reporting/test_browser.py compares the two. Arrays are rows of draws.
const bayescaleActions = (root, data) => {
  const { number, counted, percent, numbers, mean, quantile, csv, png, hover } = bayescaleTools(root), $ = (id) => root.querySelector("#" + id);
  const { names, places, words } = data, n = names.length, W = 440, R = 14, T = 34, B = 44, H = 330;
  const law = numbers(data.law), run = data.run ? numbers(data.run) : law, most = numbers(data.most);
  const column = (values, j) => Float64Array.from(most, (_, s) => values[s * n + j]);

  const costs = (action) => {
    const regret = column(law, action).map((u, s) => data.scale * (most[s] - u));
    return { action, regret: mean(regret), q05: quantile(regret, 0.05), q95: quantile(regret, 0.95) };
  };
  // The first action of the highest score: the mean utility of all draws, or of the worst ones of each action.
  const judged = (tail) => {
    if (!tail) return costs(data.chosen);
    const read = tail === 1 && data.mean_of === "law" ? law : run, [, worst] = data.worst.find(([one]) => one === tail);
    const score = names.map((_, j) => mean(tail === 1 ? column(read, j) : column(read, j).sort().subarray(0, worst)));
    return costs(score.indexOf(Math.max(...score)));
  };

  const say = (name, values = {}) => words[name].replace(/{(\w+)}/g, (_, key) => values[key]);
  const amount = (v, unit = " " + data.unit) => (data.dollars ? "$" + counted(v) : number(v) + unit);
  const shown = ({ action, regret, q05, q95 }) => say("regret_shown", { action: names[action], regret: amount(regret), low: amount(q05, ""), high: amount(q95, "") });
  const how = () => (state.tail === 1 ? say("all_draws") : say("worst_draws", { tail: percent(state.tail) }));

  // State: the caution and the action that is asked about. It is kept in the address of the page.
  const initial = () => ({ tail: data.tail, take: -1 });
  let state = initial(), last = null;
  const svg = $("picture-regret"), add = (name, values, text = "") => {
    const one = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
    Object.entries(values).forEach(([key, value]) => one.setAttribute(key, value));
    one.textContent = text;
  };
  const upright = (kind, at, text, row) => {
    if (at === null) return;
    const right = at > 0.6 * W;
    add("line", { class: kind, x1: at, x2: at, y1: T, y2: H - B });
    add("text", { class: "label", x: at + (right ? -4 : 4), y: T + 12 + 14 * row, "text-anchor": right ? "end" : "start" }, text);
  };
  const marks = (best, taken) => {
    if (data.axis) {
      svg.querySelectorAll(".mark, .plan, .label").forEach((one) => one.remove());
      upright("mark", places[best], "chosen", 0);
      if (taken >= 0) upright("plan", places[taken], "yours", 1);
    } else svg.querySelectorAll("circle").forEach((one) => {
      const j = places.findIndex((at) => at !== null && Math.abs(at - one.getAttribute("cy")) < 0.2);
      one.setAttribute("class", "dot " + (j === best ? "chosen" : j === taken ? "taken" : data.near[j] ? "near" : "beyond"));
    });
    const kinds = new Set([...svg.querySelectorAll("[class]")].map((one) => one.getAttribute("class")));
    svg.closest("figure").querySelectorAll("[data-kind]").forEach((one) => { one.hidden = !kinds.has(one.dataset.kind); });
  };
  const draw = () => {
    const best = judged(state.tail), taken = state.take < 0 || state.take === best.action ? null : costs(state.take);
    last = { state: { ...state }, best, taken };
    $("judged").textContent = (state.tail ? say("judged", { how: how() }) : say("written")) + shown(best);
    $("taken").textContent = taken ? say("taken") + shown(taken) : "";
    $("slid").textContent = say("thinned", { draws: String(most.length) });
    $("printed").textContent = [$("judged").textContent, $("taken").textContent].join(" ");
    marks(best.action, taken ? taken.action : -1);
  };
  const show = () => {
    const to = $("take"), at = state.take < 0 ? (last ? last.best.action : data.chosen) : state.take;
    $("tail-choice").value = state.tail;
    to.value = at;
    if (!data.axis) return;
    to.setAttribute("aria-valuetext", names[at]);
    $("take-name").textContent = names[at];
  };
  const changed = (part) => {
    Object.assign(state, part);
    draw(); show();
    if (!data.hash) return;
    const kept = Object.entries(state).filter(([key, value]) => value !== initial()[key]).map((pair) => pair.join("="));
    history.replaceState(null, "", kept.length ? "#" + kept.join("&") : location.pathname + location.search);
  };

  $("tail-choice").addEventListener("change", (event) => changed({ tail: +event.target.value }));
  $("take").addEventListener(data.axis ? "input" : "change", (event) => changed({ take: +event.target.value }));
  $("csv-regret").addEventListener("click", () => csv(["action", "expected_regret", "q05", "q95"],
    names.map((name, j) => { const of = costs(j); return [`"${name.replace(/"/g, '""')}"`, of.regret, of.q05, of.q95]; })));
  $("png-regret").addEventListener("click", () => png("picture-regret"));
  hover("regret", (across, up) => {
    const away = places.map((at) => (at === null ? Infinity : Math.abs(at - (data.axis ? across : up))));
    return shown(costs(away.indexOf(Math.min(...away))));
  });
  const follow = () => {
    const given = new URLSearchParams(location.hash.slice(1)), tail = +given.get("tail"), take = Number(given.get("take") ?? -1);
    state = initial();
    if (given.has("tail") && data.tails.includes(tail)) state.tail = tail;
    if (Number.isInteger(take) && take < n) state.take = Math.max(take, -1);
    if (given.has("tail") || given.has("take")) draw();
    show();
  };
  $("controls").hidden = false;
  root.querySelectorAll(".save").forEach((one) => { one.hidden = !one.querySelector("#csv-regret"); });
  if (data.hash) { follow(); addEventListener("hashchange", follow); } else show();
  return { changed, judged, costs, get last() { return last; }, get state() { return { ...state }; } };
};
