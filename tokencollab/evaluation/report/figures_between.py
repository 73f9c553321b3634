"""Figures of methods between models, from samples drawn once (ModelSwitch, figures 3, 4 and 6)."""

from tokencollab.evaluation.report.between import Study
from tokencollab.evaluation.report.pictures import Picture, colour, make_figure, marker, spread
from tokencollab.evaluation.statistics import wilson


def between_pictures(study: Study) -> list[Picture]:
    """Everything that there is to see."""
    pictures = [_curves(study)]
    if any(found.bins for found in study.correlations):
        pictures.append(_entropy(study))
    if len(study.models) > 1:
        pictures.append(_order(study))
    return pictures


def _curves(study: Study) -> Picture:
    figure, (axes,) = make_figure(7.5, 5.2)
    for index, (label, budgets) in enumerate(study.curves.items()):
        points = [study.points[label, budget] for budget in budgets]
        drawn, right = [point[1].mean for point in points], [100 * point[0].mean for point in points]
        single = label.startswith("self-consistency")
        axes.plot(drawn, right, ":" if single else "-", color=colour(index), linewidth=1 if single else 1.8)
        for point, x, y in zip(points, drawn, right, strict=True):
            bounds = point[0].bounds
            axes.errorbar(
                x,
                y,
                yerr=spread(y, bounds and (100 * bounds[0], 100 * bounds[1])),
                fmt=marker(index),
                color=colour(index),
                markersize=4,
                elinewidth=0.5 if single else 1,
                capsize=1.5,
                label=label if point is points[0] else None,
            )
    axes.set_xlim(0, study.full + 0.5)
    axes.set_xlabel("samples drawn per question, mean")
    axes.set_ylabel("accuracy, %")
    axes.set_title(study.title)
    figure.legend(loc="outside lower center", ncols=2)
    caption = (
        f"Each point is a budget, from {study.budgets[0]} to {study.budgets[-1]}; what is not drawn of it moves a "
        f"point to the left. 2 models: {', then '.join(study.pair)}. Bars: 95 % bootstrap intervals over items; the "
        "methods answered the same items, so their differences are surer than the bars suggest (see the table)."
    )
    return Picture("between-curves", f"Accuracy against samples drawn: {study.title}", caption, figure)


def _entropy(study: Study) -> Picture:
    figure, (axes,) = make_figure(7.5, 4.0)
    for index, found in enumerate(study.correlations):
        xs = [entry[0] + 0.03 * (index - (len(study.models) - 1) / 2) for entry in found.bins]
        ys = [100 * right / n for _, right, n in found.bins]
        axes.plot(xs, ys, ":", color=colour(index), linewidth=1)
        for number, (_, right, n) in enumerate(found.bins):
            low, high = wilson(right, n)
            axes.errorbar(
                xs[number],
                ys[number],
                yerr=spread(ys[number], (100 * low, 100 * high)),
                fmt=marker(index),
                color=colour(index),
                capsize=2,
                label=f"{found.model}: r = {found.item.mean:.2f} over items" if not number else None,
            )
    axes.set_ylim(-3, 103)
    axes.set_xlabel(f"entropy of {study.full} samples, bits")
    axes.set_ylabel("commonest answer right, %")
    axes.set_title(study.title)
    axes.legend(loc="lower left")
    caption = (
        "Items in bins of half a bit (those on which all samples agree are a bin of their own), at the bin's mean "
        "entropy, models a little apart; bars: Wilson's 95 %. Bins of fewer than 5 items are left out."
    )
    return Picture("between-entropy", f"Entropy and accuracy: {study.title}", caption, figure)


def _order(study: Study) -> Picture:
    figure, (axes,) = make_figure(7.5, 3.8)
    sizes = list(study.orders)
    for size in sizes:
        found = [100 * accuracy for accuracy, _ in study.orders[size]]
        label = "every choice and order" if size == 1 else None
        axes.plot([size] * len(found), found, "_", color=colour(7), markersize=14, label=label)
    for index, name in enumerate(("the best ones, strong to weak", "the same, weak to strong")):
        values = [study.turned[size][index] for size in sizes]
        xs = [size + 0.08 * (2 * index - 1) for size in sizes]
        ys = [100 * value.mean for value in values]
        axes.plot(xs, ys, color=colour(index), linewidth=1)
        for number, value in enumerate(values):
            bounds = value.bounds and (100 * value.bounds[0], 100 * value.bounds[1])
            axes.errorbar(
                xs[number],
                ys[number],
                yerr=spread(ys[number], bounds),
                fmt=marker(index),
                color=colour(index),
                capsize=2,
                label=None if number else name,
            )
    axes.set_xticks(sizes, [f"{size}\n({study.full // size} samples each)" for size in sizes])
    axes.set_xlabel(f"models of ModelSwitch, sharing a budget of {study.full} samples")
    axes.set_ylabel("accuracy, %")
    axes.set_title(study.title)
    axes.legend(loc="lower right")
    caption = f"Strong to weak: {', '.join(study.by_strength)}. Bars: 95 % bootstrap intervals over items."
    return Picture("between-order", f"Number and order of models: {study.title}", caption, figure)
