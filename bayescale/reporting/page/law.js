// The decisions of bayescale/decisions/tabulated.py on the same table, line by line. tests/reporting/test_browser.py
// compares the two. Arrays are rows of draws.
const bayescaleLaw = (table) => {
  const { numbers, mean, quantile } = bayescaleTools();
  const { ln_flops: along, across, terms, draws } = table;
  const weights = numbers(table.weights), basis = numbers(table.basis);
  const shorts = (text, step, size) => {
    if (!text) return new Float64Array(size);
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return Float64Array.from(new Int16Array(bytes.buffer), (x) => x * step);
  };
  const columns = along.length, error = shorts(table.error, table.steps.error, draws * columns);
  const noise = shorts(table.noise, table.steps.noise, draws), six = Math.log(6);
  const STENCIL = 6;

  // Lagrange's polynomial through the six nearest points: where it starts, and its weights.
  const stencil = (x, at) => {
    const u0 = (at - x[0]) / (x[1] - x[0]);
    const first = Math.min(Math.max(Math.floor(u0) - STENCIL / 2 + 1, 0), x.length - STENCIL);
    const u = u0 - first, w = new Float64Array(STENCIL).fill(1);
    for (let j = 0; j < STENCIL; j++)
      for (let k = 0; k < STENCIL; k++) if (k !== j) w[j] *= (u - k) / (j - k);
    return { first, w };
  };
  const interpolate = (x, row, at) => {
    const { first, w } = stencil(x, at);
    let sum = 0;
    for (let j = 0; j < STENCIL; j++) sum += w[j] * row[first + j];
    return sum;
  };
  const linspace = (low, high, n) => Float64Array.from({ length: n }, (_, i) => low + ((high - low) / (n - 1)) * i);
  const quantiles = (x) => {
    const sorted = Float64Array.from(x).sort();
    return { q05: d3.quantileSorted(sorted, 0.05), q50: d3.quantileSorted(sorted, 0.5), q95: d3.quantileSorted(sorted, 0.95) };
  };

  const path = (lnFlops) => Math.log(table.params) + 0.5 * (lnFlops - Math.log(6 * table.params * table.tokens));
  const sizes = (lnFlops, n) => {
    const reach = table.decades * Math.log(10), middle = path(lnFlops);
    return linspace(-reach, reach, n).map((x) => middle + x);
  };

  // Log loss of every draw at points (lnFlops[p], lnParams[p]): rows of draws.
  const logLoss = (lnFlops, lnParams) => {
    const n = lnParams.length, at = new Float64Array(terms * n), size = across.length * columns;
    for (let p = 0; p < n; p++) {
      const a = stencil(along, lnFlops[p]), b = stencil(across, lnParams[p] - path(lnFlops[p]));
      for (let r = 0; r < terms; r++) {
        let sum = 0;
        for (let j = 0; j < STENCIL; j++) {
          const from = r * size + (b.first + j) * columns + a.first;
          let row = 0;
          for (let i = 0; i < STENCIL; i++) row += a.w[i] * basis[from + i];
          sum += b.w[j] * row;
        }
        at[r * n + p] = sum;
      }
    }
    const found = [];
    for (let s = 0; s < draws; s++) {
      const row = new Float64Array(n);
      for (let r = 0; r < terms; r++) {
        const w = weights[s * terms + r];
        for (let p = 0; p < n; p++) row[p] += w * at[r * n + p];
      }
      found.push(row);
    }
    return found;
  };

  // Minimum of a function on a grid of even steps, by the quartic through five points.
  const minimise = (x, v) => {
    let k = 0;
    for (let j = 1; j < v.length; j++) if (v[j] < v[k]) k = j;
    const i = Math.min(Math.max(k, 2), v.length - 3);
    const [a, b, c, d, e] = [v[i - 2], v[i - 1], v[i], v[i + 1], v[i + 2]];
    const c1 = (a - 8 * b + 8 * d - e) / 12, c2 = (-a + 16 * b - 30 * c + 16 * d - e) / 24;
    const c3 = (-a + 2 * b - 2 * d + e) / 12, c4 = (a - 4 * b + 6 * c - 4 * d + e) / 24;
    let u = k - i;
    for (let n = 0; n < 6; n++) {
      const bend = 2 * c2 + u * (6 * c3 + 12 * c4 * u), slope = c1 + u * (2 * c2 + u * (3 * c3 + 4 * c4 * u));
      u = Math.min(Math.max(u - (bend > 0 ? slope / bend : 0), -2), 2);
    }
    return { at: x[i] + u * (x[1] - x[0]), least: c + u * (c1 + u * (c2 + u * (c3 + c4 * u))) };
  };

  // Row of the best action: the mean, or the mean of the worst share of the draws of each action.
  const chosen = (cost, tail, allowed) => {
    const n = cost[0].length, score = new Float64Array(n).fill(Infinity);
    const kept = Math.max(1, Math.round(tail * draws));
    for (let j = 0; j < n; j++) {
      if (allowed && !allowed[j]) continue;
      const column = Float64Array.from(cost, (row) => row[j]);
      score[j] = mean(tail === 1 ? column : column.sort().subarray(draws - kept));
    }
    return score.indexOf(Math.min(...score));
  };
  const regret = (cost, i, allowed) => mean(cost.map((row) => row[i] - Math.min(...(allowed ? row.filter((_, j) => allowed[j]) : row))));

  // Linear interpolation, constant beyond the ends; x ascending.
  const linear = (at, x, y) => {
    if (at <= x[0]) return y[0];
    if (at >= x[x.length - 1]) return y[y.length - 1];
    let j = 0;
    while (x[j + 1] <= at) j++;
    return ((y[j + 1] - y[j]) / (x[j + 1] - x[j])) * (at - x[j]) + y[j];
  };

  // Sizes that waste little in half of the draws or more, and so do all between them: the range with the largest share.
  const safeRange = (at, waste) => {
    const good = waste.map((own) => own.filter((x) => x < table.few).length / own.length);
    let low = good.indexOf(Math.max(...good)), high = low;
    if (good[low] < 0.5) return [NaN, NaN];
    while (good[low - 1] >= 0.5) low--;
    while (good[high + 1] >= 0.5) high++;
    return [Math.exp(at[low]), Math.exp(at[high])];
  };

  let kept = null;
  const frontier = () => {
    if (kept) return kept;
    kept = Array.from({ length: draws }, () => new Float64Array(columns));
    along.forEach((lnFlops, c) => {
      const at = sizes(lnFlops, table.fine), found = logLoss(new Float64Array(at.length).fill(lnFlops), at);
      found.forEach((row, s) => { kept[s][c] = Math.exp(minimise(at, row).least); });
    });
    return kept;
  };

  const allocation = (flops, tail = 1) => {
    const lnFlops = Math.log(flops), at = sizes(lnFlops, table.sizes), n = at.length;
    const law = logLoss(new Float64Array(n).fill(lnFlops), at);
    const shift = Float64Array.from({ length: draws }, (_, s) => interpolate(along, error.subarray(s * columns, (s + 1) * columns), lnFlops));
    const losses = law.map((row) => row.map(Math.exp));
    const run = law.map((row, s) => row.map((x) => Math.exp(x + shift[s] + noise[s])));
    const i = chosen(tail === 1 ? losses : run, tail);
    const below = table.below, back = [...below].reverse(), front = frontier();
    const waste = losses.map((row, s) => {
      const known = below.map((b) => interpolate(along, front[s], lnFlops + b)).reverse();
      return row.map((x) => Math.expm1(-linear(x, known, back)));
    });
    const best = losses.map((row) => minimise(at, row).at);
    const ratio = quantiles(best.map((x) => flops / (6 * Math.exp(2 * x))));
    const column = (j) => Float64Array.from(waste, (row) => row[j]);
    const [low, high] = safeRange(at, Array.from(at, (_, j) => column(j)));
    const own = losses.map((row, s) => Math.exp(law[s][i] + shift[s]));
    const expected = mean(column(i)), params = Math.exp(at[i]);
    return {
      params, tokens: flops / (6 * params), expected_loss: mean(own), loss: quantiles(own), regret_nats: regret(losses, i),
      waste_fraction: expected, waste_q95: quantile(column(i), 0.95),
      safe_low: low, safe_high: high,
      best_params: quantiles(best.map(Math.exp)), best_ratio: ratio,
      settled: expected <= table.most_waste && ratio.q95 <= table.widest * ratio.q05,
      sizes: at.map(Math.exp), waste: column, lnSizes: at,
    };
  };

  // Log tokens at which a row of falling losses first reaches a loss: bisection of Newton's polynomial.
  const tokensFor = (x, row, wanted) => {
    let i = 0, lowest = Infinity;
    for (const y of row) { lowest = Math.min(lowest, y); if (lowest > wanted) i++; }
    if (i === 0) return x[0];
    if (i === row.length) return Infinity;
    const first = Math.min(Math.max(i - STENCIL / 2, 0), row.length - STENCIL);
    const d = Array.from({ length: STENCIL }, (_, j) => row[first + j] - wanted);
    for (let k = 1; k < STENCIL; k++) for (let j = STENCIL - 1; j >= k; j--) d[j] = (d[j] - d[j - 1]) / k;
    let left = i - 1 - first, right = left + 1;
    for (let n = 0; n < 40; n++) {
      const u = 0.5 * (left + right);
      let value = d[5];
      for (let k = 4; k >= 0; k--) value = value * (u - k) + d[k];
      if (value > 0) left = u; else right = u;
    }
    return x[0] + (x[1] - x[0]) * (first + left);
  };

  const lifetime = (flops, demand, tail = 1) => {
    const like = allocation(flops), lnParams = Math.log(like.params), lnTokens = Math.log(like.tokens);
    const at = table.like.map((x) => lnParams + x), lengths = table.lengths.map((x) => lnTokens + x);
    const n = at.length, m = lengths.length, spent = [], size = [];
    at.forEach((a) => lengths.forEach((b) => { spent.push(six + a + b); size.push(a); }));
    const values = logLoss(spent, size);
    const line = lengths.map((b) => six + lnParams + b), still = (x) => new Float64Array(m).fill(x);
    const own = logLoss(line, still(lnParams));
    const around = table.slope.map(([k]) => logLoss(line, still(lnParams + table.shift * k)));
    const cost = [], tokens = [];
    const allowed = new Array(n).fill(true), last = Math.exp(lengths[m - 1]);
    for (let s = 0; s < draws; s++) {
      const slope = new Float64Array(m);
      table.slope.forEach(([, w], k) => { for (let j = 0; j < m; j++) slope[j] += (w * around[k][s][j]) / table.shift; });
      let low = lengths[0], high = lengths[m - 1];
      for (let b = 0; b < 50; b++) {
        const middle = 0.5 * (low + high);
        if (interpolate(lengths, slope, middle) > 0) low = middle; else high = middle;
      }
      const wanted = interpolate(lengths, own[s], low), row = new Float64Array(n), spend = new Float64Array(n);
      for (let j = 0; j < n; j++) {
        const need = tokensFor(lengths, values[s].subarray(j * m, (j + 1) * m), wanted);
        row[j] = Math.exp(Math.min(need, lengths[m - 1]));
        if (!(row[j] < last)) allowed[j] = false;
        spend[j] = 6 * Math.exp(at[j]) * row[j] + table.forward * Math.exp(at[j]) * demand;
      }
      tokens.push(row); cost.push(spend);
    }
    const i = chosen(cost, tail, allowed), params = Math.exp(at[i]);
    const column = Float64Array.from(tokens, (row) => row[i]);
    const expected = (j) => mean(cost.map((row) => row[j]));
    const bests = cost.map((row) => {
      let k = allowed.indexOf(true);
      row.forEach((x, j) => { if (allowed[j] && x < row[k]) k = j; });
      return Math.exp(at[k]);
    });
    const other = at.reduce((k, x, j) => (Math.abs(x - lnParams) < Math.abs(at[k] - lnParams) ? j : k), 0);
    const found = quantiles(column), of = quantiles(bests);
    return {
      params, tokens: found.q50, tokens_q05: found.q05, tokens_q95: found.q95, like: like.params, cost: expected(i),
      saving: 1 - expected(i) / expected(other), regret: regret(cost, i, allowed), best_q05: of.q05, best_q95: of.q95,
    };
  };

  // Loss of a run at the best split, by compute: quantiles over draws with discrepancies and noise.
  const curve = () => along.map((lnFlops, c) => {
    const run = frontier().map((row, s) => row[c] * Math.exp(error[s * columns + c] + noise[s]));
    return { flops: Math.exp(lnFlops), q: [0.05, 0.25, 0.5, 0.75, 0.95].map((q) => quantile(run, q)) };
  });

  return { allocation, lifetime, curve, interpolate, quantile, mean, safeRange };
};
