/// How the page looks and what it does when it is pointed at; without scripts everything is still there.
enum PageStyle {
    static let css = """
        :root { color-scheme: light dark; --ink: #1b1f24; --faint: #8a929b; --paper: #fff; --line: #e3e6ea;
          --train: #2a78b5; --held: #c0562f; }
        @media (prefers-color-scheme: dark) {
          :root { --ink: #e8eaed; --faint: #9aa3ad; --paper: #15181c; --line: #2c3138; --train: #69b1ea; --held: #f0936c; } }
        body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
          max-width: 1500px; margin: 0 auto; padding: 1.5rem; }
        h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
        header p, .legend { color: var(--faint); margin: .2rem 0; }
        .legend span::before { content: ""; display: inline-block; width: 1.4em; height: 0; margin: 0 .4em .25em 0;
          border-top: 2px solid var(--train); } .legend span { margin-right: 1.2em; }
        .legend .raw::before { opacity: .35; } .legend .held::before { border-color: var(--held); }
        .charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(400px, 100%), 1fr)); gap: 1rem; }
        figure { margin: 0; } .chart { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .6rem; }
        figcaption { color: var(--faint); font-size: .9rem; } figcaption b { color: var(--ink); }
        .chart output { display: block; min-height: 1.4em; font-size: .82rem; color: var(--faint); }
        svg { width: 100%; display: block; } svg text { font-size: 10.5px; fill: var(--faint); }
        svg .grid { stroke: var(--line); } svg .cursor { stroke: var(--faint); stroke-dasharray: 2 2; }
        polyline { fill: none; stroke: var(--train); stroke-width: 1.6; stroke-linejoin: round; }
        polyline.raw { opacity: .35; stroke-width: 1; } polyline.held { stroke: var(--held); stroke-width: 1.2; }
        circle.line { fill: var(--train); } circle.held { fill: var(--held); }
        .picture img { max-width: 100%; image-rendering: pixelated; border-radius: 4px; } .picture { margin: .4rem 0 1rem; }
        .slider input { width: min(480px, 60%); vertical-align: middle; }
        .slider output { display: inline-block; min-width: 5em; }
        table { border-collapse: collapse; font-size: .88rem; margin-bottom: 1rem; overflow-wrap: anywhere; }
        th { text-align: left; font-weight: normal; color: var(--faint); padding: .12rem 1.2rem .12rem 0; vertical-align: top;
          white-space: nowrap; }
        td { font-family: ui-monospace, monospace; }
        """

    static let script = """
        for (const chart of document.querySelectorAll(".chart")) {
          const read = text => text.split(" ").filter(Boolean).map(pair => pair.split(":"));
          const train = read(chart.dataset.train), held = read(chart.dataset.held);
          const svg = chart.querySelector("svg"), cursor = chart.querySelector(".cursor");
          const said = chart.querySelector("output");
          const nearest = (points, step) => points.reduce(
            (best, point) => !best || Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best, null);
          svg.addEventListener("pointermove", event => {
            const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
            const left = +chart.dataset.left, span = +chart.dataset.span, steps = +chart.dataset.steps;
            const step = ((event.clientX - box.left) * scale - left) / span * steps;
            const a = nearest(train, step), b = nearest(held, step), first = a || b;
            if (!first) return;
            cursor.setAttribute("x1", left + span * first[0] / steps);
            cursor.setAttribute("x2", left + span * first[0] / steps);
            said.textContent = [a && `step ${a[0]}: ${a[1]}`, b && `held out at ${b[0]}: ${b[1]}`]
              .filter(Boolean).join("   ");
          });
          svg.addEventListener("pointerleave", () => { said.textContent = ""; cursor.setAttribute("x1", -9);
            cursor.setAttribute("x2", -9); });
        }
        for (const part of document.querySelectorAll(".pictures")) {
          const all = [...part.querySelectorAll(".picture")], slider = part.querySelector(".slider");
          if (all.length < 2) continue;
          const input = slider.querySelector("input"), said = slider.querySelector("output");
          const show = () => all.forEach((figure, index) => {
            figure.hidden = index != input.value;
            if (!figure.hidden) said.textContent = figure.querySelector("figcaption").textContent.replace("step ", "");
          });
          slider.hidden = false;
          input.addEventListener("input", show);
          show();
        }
        """
}
