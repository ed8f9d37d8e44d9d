// Statistics of any two runs, computed here because there are too many pairs to write down.

function lnFactorials(n) {
  const table = [0];
  for (let i = 1; i <= n; i++) table.push(table[i - 1] + Math.log(i));
  return table;
}

// Two-sided exact McNemar test: a fair coin's chance of a split at least as uneven as wins against losses.
function mcnemar(wins, losses) {
  const n = wins + losses;
  if (!n) return 1;
  const ln = lnFactorials(n);
  let tail = 0;
  for (let k = 0; k <= Math.min(wins, losses); k++) tail += Math.exp(ln[n] - ln[k] - ln[n - k] - n * Math.LN2);
  return Math.min(1, 2 * tail);
}

function wilson(hits, n) {
  const z = 1.959964, share = hits / n, scale = 1 + (z * z) / n;
  const middle = (share + (z * z) / (2 * n)) / scale;
  const half = (z / scale) * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

// Mean of paired differences with its 95 % normal interval.
function meanDifference(values) {
  const n = values.length;
  if (!n) return { mean: null, ci95: null };
  const mean = values.reduce((a, b) => a + b, 0) / n;
  const spread = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / Math.max(1, n - 1) / n);
  return { mean, ci95: [mean - 1.959964 * spread, mean + 1.959964 * spread] };
}
