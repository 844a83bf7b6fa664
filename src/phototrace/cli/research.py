"""Photos, training and the paper's study: index, audit, train, evaluate, reproduce, demo.

Commands parse, call and print; what they do is in the package. Nothing heavy is imported before a
command runs, so that help is shown at once.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from phototrace.cli.app import Json, app, list_items, show
from phototrace.cli.found import CorpusChoice, facts_of, list_found, photos_of, summary_of, tell
from phototrace.errors import UsageError

KeepDamaged = Annotated[
    bool,
    typer.Option("--keep-damaged", help="Take JPEG that have lost a part all the same."),
]
_DEFECTS = {
    "missing": "things are missing from a whole copy of the collection",
    "misnamed": "are misnamed",
    "repeated": "have the name of another photo",
    "surplus": "devices have more photos than in a whole copy",
    "index": "rows of the collection's index are wrong",
}


@app.command()
def index(
    folder: Annotated[
        list[Path], typer.Argument(help="A folder of photos, or manifests to join and complete.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Manifest: .parquet or .csv.")],
    corpus: CorpusChoice = None,
    keep_damaged: KeepDamaged = False,
    as_json: Json = False,
) -> None:
    """Read every photo of a folder or manifest into a manifest.

    Cameras come from EXIF, and where it names none from folders that plainly do (auto).

    \b
    Examples:
      phototrace index photos/ -o photos.parquet
      phototrace index photos/ --corpus folder -o photos.parquet
      phototrace index Dresden/ --corpus dresden -o dresden.parquet
      phototrace index mine.csv theirs.csv -o all.parquet
    """
    from phototrace.photos.corpora import table1
    from phototrace.photos.indexing import index as index_photos
    from phototrace.photos.indexing import is_manifest
    from phototrace.photos.manifest import Manifest, join

    source: Path | Manifest = folder[0]
    if len(folder) > 1:
        others = [str(path) for path in folder if not is_manifest(path)]
        if others:
            raise UsageError(
                f"Only manifests can be joined, and {others[0]} is none. Index it alone first."
            )
        source = join([Manifest.load(path, hashed=False) for path in folder])
    result = index_photos(source, corpus or "auto", output, keep_damaged=keep_damaged)
    classes = table1.served({r.camera for r in result.manifest.photos})
    facts = {
        "manifest": str(output),
        "hash": result.manifest.hash,
        "photos": len(result.manifest.photos),
        "cameras": len({r.camera for r in result.manifest.photos if r.camera}),
        "devices": len({r.device_id for r in result.manifest.photos if r.device}),
        **facts_of(result),
        "skipped": [vars(p) for p in result.skipped],
        "collection": [vars(p) for p in result.collection],
        "table_1": classes,
    }
    show(facts, as_json, lambda: "\n".join([
        f"{facts['photos']} photos of {facts['cameras']} camera models and {facts['devices']} "
        f"devices in {output}.",
        *result.notes,
        table1.sentence(classes),
    ]))  # fmt: skip
    list_found(result)
    list_items("are left out", result.skipped)
    for kind, what in _DEFECTS.items():
        list_items(what, (p for p in result.collection if p.kind == kind))
    raise typer.Exit(1 if result.broken or result.conflicts else 0)


@app.command()
def audit(
    source: Annotated[str, typer.Argument(help="A manifest or folder, or a recipe.")],
    photos: Annotated[Path | None, typer.Option(help="Photos, for a recipe.")] = None,
    trunk: Annotated[Path | None, typer.Option(help="Run whose trunk is used.")] = None,
    by: Annotated[
        str | None, typer.Option(help="What the column 'part' is split by: photo, device, ...")
    ] = None,
    corpus: CorpusChoice = None,
    keep_damaged: KeepDamaged = False,
    as_json: Json = False,
) -> None:
    """Find leaks, duplicates and broken files.

    A leak is a photo, burst, device or scene that training and test must not share, but do. A file
    that stands under two cameras or devices is a conflict.

    \b
    Examples:
      phototrace audit photos.parquet
      phototrace audit photos/ --corpus exif
      phototrace audit manipulation --photos photos.parquet
    """
    from phototrace.photos.auditing import audit_photos, audited
    from phototrace.photos.indexing import IndexResult, is_manifest

    if Path(source).is_dir() or is_manifest(Path(source)):
        if photos or trunk:
            raise UsageError("--photos and --trunk go with a recipe, not with a manifest.")
        found = photos_of(Path(source), corpus, keep_damaged=keep_damaged)
        made = audit_photos(found, by, keep_damaged=keep_damaged)
    else:
        from phototrace.learning.leaks import trunk_leaks
        from phototrace.learning.preparing import gather_photos, prepare
        from phototrace.learning.recipe import Recipe
        from phototrace.learning.run import STORES, Run
        from phototrace.learning.transfer import load_trunk
        from phototrace.photos.completing import with_traces
        from phototrace.recipes import recipe_path

        if by:
            raise UsageError("--by goes with a manifest. A recipe defines its own split.")
        path = recipe_path(source)
        recipe = Recipe.load(path)
        trained = Run.load(trunk) if trunk else load_trunk(recipe, path.parent)
        found = (
            photos_of(photos, corpus, recipe.photos.corpus, keep_damaged=keep_damaged)
            if photos
            else IndexResult(gather_photos(recipe.photos, path.parent, None, Path("runs")))
        )
        experiment = prepare(recipe, found.manifest)
        manifest, split = with_traces(experiment.manifest, Path("runs") / STORES), experiment.split
        devices = recipe.split.test_devices
        of_trunk = trunk_leaks(manifest, split, trained, devices) if trained else []
        made = audited(
            found, manifest, split, experiment.notes, of_trunk, keep_damaged=keep_damaged
        )
    notes = [*found.notes, *made.notes]
    facts = {
        "photos": made.photos,
        "split": made.split.hash if made.split else None,
        **facts_of(found),
        "notes": notes,
        "broken": [vars(p) for p in made.problems],
        "leaks": [vars(leak) for leak in made.leaks],
    }
    counts = f"{len(made.problems)} broken or duplicate, {len(made.leaks)} leaks."
    show(facts, as_json, lambda: "\n".join([f"{made.photos} photos: {counts}", *notes]))
    list_items("are broken or duplicate", made.problems)
    list_found(found, "broken", "duplicates", "conflicts")
    list_items("leak", made.leaks)
    raise typer.Exit(1 if made.problems or made.leaks else 0)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    photos: Annotated[Path | None, typer.Option(help="Folder or manifest of the photos.")] = None,
    trunk: Annotated[
        Path | None, typer.Option(help="Run whose trunk is used, in place of trunk_from.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of runs and patch stores.")] = Path("runs"),
    resume: Annotated[bool, typer.Option(help="Continue an interrupted training.")] = False,
    devices: Annotated[
        int, typer.Option(help="Processes that train together, each on a CUDA device or core.")
    ] = 1,
    allow_leaks: Annotated[
        bool,
        typer.Option("--allow-leaks", help="Train even if the split leaks; the run records it."),
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show steps and memory it would take; train nothing.")
    ] = False,
    keep_damaged: KeepDamaged = False,
    as_json: Json = False,
) -> None:
    """Train the network of a recipe.

    The patches that it needs are cut first and stored. Under torchrun, the processes that it
    started train together.

    \b
    Examples:
      phototrace train manipulation --photos photos.parquet
      phototrace train manipulation --photos photos.parquet --devices 2 --plan
      phototrace train transfer-cameras --trunk runs/manipulation --photos photos.parquet
    """
    from phototrace.learning.accelerator import resolve
    from phototrace.learning.outlook import outlook
    from phototrace.learning.preparing import gather_photos, prepare
    from phototrace.learning.processes import first_then_others, rank, team
    from phototrace.learning.recipe import Recipe
    from phototrace.learning.run import Run
    from phototrace.learning.training import train_recipe
    from phototrace.learning.transfer import load_trunk
    from phototrace.photos.indexing import IndexResult
    from phototrace.recipes import recipe_path

    path = recipe_path(recipe)
    read = Recipe.load(path)
    source = Run.load(trunk) if trunk else load_trunk(read, path.parent)
    processes = team(resolve(read.training.precision), devices=devices)
    with first_then_others():
        found = (
            photos_of(photos, None, read.photos.corpus, keep_damaged=keep_damaged)
            if photos
            else IndexResult(
                gather_photos(read.photos, path.parent, None, out, keep_damaged=keep_damaged)
            )
        )
    if rank() == 0:
        tell(found)
    if plan:
        seen = outlook(prepare(read, found.manifest), processes.world_size)
        show(vars(seen), as_json, seen.sentence)
        return
    run = train_recipe(
        read, found.manifest, out,
        resume=resume, allow_leaks=allow_leaks, trunk=source, devices=devices,
    )  # fmt: skip
    if rank() > 0:
        return  # the first process says what there is to say
    rows = [json.loads(x) for x in (run.folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    last = {row["leg"]: row for row in rows}
    facts = {
        "run": str(run.folder), "hash": run.hash, "epoch": rows[-1]["epoch"], "legs": last,
        **facts_of(found), "notes": [*found.notes, *run.provenance.get("notes", [])],
    }  # fmt: skip
    skipped = [s for each in run.provenance["skipped"].values() for s in each]
    said = [run.tasks[leg].of_row(row) for leg, row in last.items()]
    show(facts, as_json, lambda: (
        f"{run.folder}: after {rows[-1]['epoch']} epochs, on the validation part: "
        f"{', '.join(said)}. Next: phototrace evaluate {run.folder} MANIFEST"
    ))  # fmt: skip
    list_items("could not be read", skipped)
    raise typer.Exit(1 if skipped or found.broken or found.conflicts else 0)


@app.command()
def evaluate(
    runs: Annotated[list[str], typer.Argument(help="RUN [RUN ...] PHOTOS (folder or manifest).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the page and the predictions.")
    ] = None,
    corpus: CorpusChoice = None,
    as_json: Json = False,
) -> None:
    """Test runs on photos that they were not trained on.

    The result is a page with the accuracy of every leg and its intervals. With two runs or more,
    the page also has the paired difference between the first run and each other run of its task. A
    folder is read as the recipe of the runs says, unless --corpus is given.

    \b
    Examples:
      phototrace evaluate runs/manipulation photos.parquet
      phototrace evaluate runs/cameras photos/ --corpus folder
    """
    from phototrace.evidence.assessing import assess
    from phototrace.learning.run import Run

    if len(runs) < 2:
        raise UsageError("Give at least one run, then the photos: a folder or a manifest.")
    folders, photos = [Path(name) for name in runs[:-1]], Path(runs[-1])
    opened = [Run.open(folder) for folder in folders]
    corpora = sorted({run.recipe.photos.corpus for run in opened})
    if photos.is_dir() and not corpus and len(corpora) > 1:
        raise UsageError(
            f"The runs' recipes read a folder in different ways ({', '.join(corpora)}). Choose one "
            "with --corpus, or index the folder first."
        )
    found = photos_of(photos, corpus, corpora[0])
    tell(found, "broken")
    result = assess(
        opened, found.manifest, out or folders[0] / "evaluation", notes=summary_of(found)
    )
    broken = [*(vars(p) for p in found.broken), *result.unreadable()]
    facts = {**result.to_dict(), **facts_of(found), "broken": broken}
    show(facts, as_json, lambda: "\n".join(result.sentences()))
    list_items("could not be read or tested", broken)
    raise typer.Exit(1 if broken or found.conflicts else 0)


@app.command()
def reproduce(
    recipe: Annotated[str, typer.Argument(help="A study's recipe, or the name of a shipped one.")],
    photos: Annotated[Path | None, typer.Option(help="Folder or manifest of the photos.")] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would run, and how long; train nothing.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compute every figure again from the predictions.")
    ] = False,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Repetitions with different seeds.")
    ] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the study; studies/NAME by default.")
    ] = None,
    allow_leaks: Annotated[
        bool, typer.Option("--allow-leaks", help="Run even if the split leaks; the page says so.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the paper's study on any photos.

    The result is a page with Fig. 3, Tables 2 and 3, and the paper's findings. If the study is
    interrupted, the same command continues it. Nothing is trained twice.

    \b
    Examples:
      phototrace reproduce simulated-20-5 --plan
      phototrace reproduce paper --photos Dresden/ --out studies/paper
    """
    from phototrace.recipes import study_path
    from phototrace.study import reproducing
    from phototrace.study.recipe import StudyRecipe
    from phototrace.study.running import study_photos

    path = study_path(recipe)
    read = StudyRecipe.load(path)
    out = out or Path("studies") / read.name
    if plan and check:
        raise UsageError("--plan is for before a study, --check for after it. Give one of them.")
    if check:
        wrong = reproducing.check(out, read)
        facts: dict[str, Any] = {"study": str(out), "differences": wrong}
        show(facts, as_json, lambda: (
            f"{out}: {len(wrong)} places differ from what the stored predictions give."
        ))  # fmt: skip
        list_items("differ", [{"text": text} for text in wrong])
        raise typer.Exit(1 if wrong else 0)
    if plan:
        from phototrace.study.plan_report import plan_dict, plan_text

        made, taken = reproducing.plan(read, path.parent, photos, out, seeds)
        show(plan_dict(made, taken), as_json, lambda: plan_text(made, taken))
        return
    result = reproducing.reproduce(
        read, study_photos(read, path.parent, photos, out), out,
        seeds=seeds, allow_leaks=allow_leaks,
    )  # fmt: skip
    show(result.to_dict(), as_json, lambda: "\n".join(result.sentences()))
    left_out = result.facts["photos_left_out"]
    list_items("photos are left out", left_out)
    raise typer.Exit(1 if left_out else 0)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path(
        "demo"
    ),
) -> None:
    """Run the whole study on simulated cameras, in minutes.

    The demo makes photos, trains on them, evaluates, and writes a page with the results.

    \b
    Example:
      phototrace demo
    """
    from phototrace.demo import run_demo

    run_demo(out, partial(print, flush=True))
