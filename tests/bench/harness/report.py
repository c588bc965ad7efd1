"""What was measured, as Markdown and as an SVG chart."""

import html
import os
import platform
import statistics
import subprocess

from .arena import ROOT
from .contestants import OURS, YARDSTICK

# figure, contestant, what of it, against whom, the goal
RATIOS = [
    ("CPU a request / T, keep-alive", "apikeyd", "cpu_us", "T", "<= 0.85"),
    ("requests/s / T, keep-alive", "apikeyd", "rate", "T", ">= 1.3"),
    ("CPU a request / T, no keep-alive", "apikeyd-once", "cpu_us", "T", "<= 1.2"),
    ("requests/s / nginx + Lua + Redis", "apikeyd", "rate", "lua-redis", ">= 1.5"),
    ("requests/s / Flask + Redis", "apikeyd", "rate", "flask", ">= 18"),
    ("requests/s / fastify + Redis", "apikeyd", "rate", "fastify", ">= 2.5"),
    ("requests/s, 429 path / 200 path", "apikeyd-429", "rate", "apikeyd", ">= 1.0"),
    ("requests/s, one hot key / 1000 keys", "apikeyd-hot", "rate", "apikeyd", ">= 0.95"),
]


def median(samples, what):
    return statistics.median(getattr(sample, what) for sample in samples)


def ratio(results, name, what, other):
    """Median over the rounds of the ratio within a round: what slows the whole machine for a while cancels out."""
    return statistics.median(getattr(a, what) / getattr(b, what) for a, b in zip(results[name], results[other]))


def noise(results):
    others = [sample.others for samples in results.values() for sample in samples]
    return f"other processes and the host took {statistics.median(others):.0%} of the machine at the median, {max(others):.0%} at most"


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    with open("/etc/os-release") as f:
        system = next((line.split("=", 1)[1].strip().strip('"') for line in f if line.startswith("PRETTY_NAME=")), "Linux")
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().rpartition("/")[2]
    return f"{os.cpu_count()} x {model}, {system}, Linux {platform.release()}, nginx {nginx}"


def commit():
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True).stdout.strip()
    dirty = git("status", "--porcelain", "--", "src", "conf", "configure.ac")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with changes not committed" if dirty else "")


def table(rows):
    """Markdown; the first row is the head, the first column text and the others numbers."""
    head, *body = rows
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def paced_table(contestants, paced, rate):
    rows = [[f"{rate:,.0f} req/s, half of T's load", "p50 ms", "p99 ms", "p99 - T's", "p99.9 ms"]]
    for c in contestants:
        if c.name in paced:
            rows.append([c.title, *(f"{median(paced[c.name], what):.2f}" for what in ("p50_ms", "p99_ms")),
                         f"{behind_yardstick(paced, c.name):+.2f}", f"{median(paced[c.name], 'p999_ms'):.2f}"])
    return table(rows)


def behind_yardstick(paced, name):
    """Milliseconds of p99 beyond T's: median over the rounds of the difference within a round."""
    return statistics.median(a.p99_ms - b.p99_ms for a, b in zip(paced[name], paced[YARDSTICK]))


def faster_ones(contestants, results):
    """Who made more requests a second than we did, and why: a figure alone would mislead either way."""
    if OURS not in results:
        return ""
    lines = [f"- {c.title.replace('**', '')}: {ratio(results, c.name, 'rate', OURS):.2f} times. It {c.faster}."
             for c in contestants if c.faster and ratio(results, c.name, "rate", OURS) > 1]
    return "\nFaster than apikeyd (keep-alive, 1000 keys):\n\n" + "\n".join(lines) + "\n" if lines else ""


def markdown(contestants, results, paced, rate, facts):
    rows = [["behind nginx", "req/s", "/ T", "CPU us/req", "/ T", "p50 ms", "p99 ms", "spread"]]
    for c in contestants:
        samples = results[c.name]
        rates = [s.rate for s in samples]
        against = [f"{ratio(results, c.name, what, YARDSTICK):.2f}" if YARDSTICK in results else "" for what in ("rate", "cpu_us")]
        rows.append([c.title, f"{median(samples, 'rate'):,.0f}", against[0], f"{median(samples, 'cpu_us'):.1f}", against[1],
                     f"{median(samples, 'p50_ms'):.2f}", f"{median(samples, 'p99_ms'):.2f}", f"{(max(rates) - min(rates)) / median(samples, 'rate'):.0%}"])
    figures = [["figure", "measured", "goal"]]
    for title, name, what, other, goal in RATIOS:
        if name in results and other in results:
            figures.append([title, f"{ratio(results, name, what, other):.2f}", goal])
    if OURS in paced and YARDSTICK in paced:
        figures.append(["p99 at half of T's load, minus T's own, ms", f"{behind_yardstick(paced, OURS):.2f}", "<= 0.3"])
    text = "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n\n" + table(rows) + "\n"
    text += faster_ones(contestants, results)
    if paced:
        text += "\n" + paced_table(contestants, paced, rate) + "\n"
    return text + ("\n" + table(figures) + "\n" if len(figures) > 1 else "")


# ---- chart ----

ROW, BAR, LABELS, PANEL, TOP = 30, 18, 360, 280, 60
COLOURS = {"ours": "#1d6f5c", "yardstick": "#c0772a", "other": "#8a94a3"}


def bars(contestants, results, what, left, title, form):
    values = sorted(median(results[c.name], what) for c in contestants)
    widest = min(values[-1], 4 * statistics.median(values))  # one that is far out would make the others unreadable: it is cut
    yield f'<text x="{left}" y="{TOP - 14}" class="head">{html.escape(title)}</text>'
    for i, c in enumerate(contestants):
        value = median(results[c.name], what)
        colour = COLOURS["ours" if c.stack == OURS else "yardstick" if c.stack == "trivial" else "other"]
        y = TOP + i * ROW
        width = max(1, min(value, widest) / widest * (PANEL - 80))
        yield f'<rect x="{left}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>'
        yield f'<text x="{left + width + 6:.1f}" y="{y + 13}">{"» " if value > widest else ""}{form.format(value)}</text>'


def svg(contestants, results, facts):
    """Two panels of bars: requests a second (more is better) and CPU a request (less is)."""
    width, height = LABELS + 2 * PANEL + 20, TOP + len(contestants) * ROW + 40
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           "<style>text{fill:#222}.head{font-weight:bold}.small{font-size:10px;fill:#666}</style>",
           f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for i, c in enumerate(contestants):
        out.append(f'<text x="{LABELS - 12}" y="{TOP + i * ROW + 13}" text-anchor="end">{html.escape(c.title.replace("**", ""))}</text>')
    out += bars(contestants, results, "rate", LABELS, "requests/s (more is better)", "{:,.0f}")
    out += bars(contestants, results, "cpu_us", LABELS + PANEL + 10, "CPU us/request (less is better)", "{:.1f}")
    out.append(f'<text x="12" y="{height - 12}" class="small">{html.escape(facts["machine"] + "; commit " + facts["commit"])}</text>')
    return "\n".join(out) + "\n</svg>\n"
