// How the site's search orders what it finds: pages whose title has the words, guides before
// reference, and tables of figures and changes last. Sphinx puts it into its search script.
var Scorer = {
  score: ([page, title, , , score]) => {
    const wordsOf = (text) => text.toLowerCase().split(/[^\w]+/).filter(Boolean);
    const asked = wordsOf(new URLSearchParams(window.location.search).get("q") || "");
    const named = wordsOf(title);
    // An ending may differ: "retries" also means "Retry".
    const stems = asked.map((word) => word.slice(0, Math.max(4, word.length - 3)));
    const isNamed = stems.every((stem) => named.some((word) => word.startsWith(stem)));
    if (isNamed) score += 40;
    if (/^reference\/(benchmarks|changelogs)$/.test(page)) score -= 60;
    else if (/^(guide|howto|start|coming-from)\//.test(page)) score += 20;
    return score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
