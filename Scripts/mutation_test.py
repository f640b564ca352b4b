"""Shows that each collective and each scaling factor of parallel training is watched by a test.

Takes a copy of the package, puts a switch before each of the places below (all in one build), and runs the named tests once with
each switch on: they must fail, and with all switches off they must pass. Nothing in this package changes.

    python3 Scripts/mutation_test.py            all of them: a build and about a minute each
    python3 Scripts/mutation_test.py norm ring  those whose names have one of these words
    python3 Scripts/mutation_test.py --package FOLDER   in this copy, which has been built before
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARALLEL, MODELS, TRAINING = "Sources/Parallelism/", "Sources/Models/", "Sources/Training/"
MAPPINGS = PARALLEL + "TensorParallel/Mappings.swift"
PROBABILITIES = PARALLEL + "TensorParallel/VocabularyLogProbs.swift"
OPTIMIZER = PARALLEL + "DistributedOptimizer/"
FSDP = PARALLEL + "FullyShardedDataParallel/"

DENSE, MIXTURE, SHARDED = "MegatronFuzzTests", "RolloutRoutingTests", "FSDPLayoutTests/tenSteps"
ALGORITHMS = "MegatronAlgorithmTests/everyLoss"

# name, file, what stands there, what stands there instead (ON is the switch), tests that must notice
MUTATIONS = [
    ("entering tensor parallelism: gradient sum", MAPPINGS, '{ detached() }) { $0.summed(over: group) }',
     '{ detached() }) { ON ? $0 : $0.summed(over: group) }', DENSE),
    ("leaving tensor parallelism: sum", MAPPINGS, 'forward: { detached().summed(over: group, inOrder: inOrder) }) { $0 }',
     'forward: { ON ? detached() : detached().summed(over: group, inOrder: inOrder) }) { $0 }', DENSE),
    ("sequence parallelism: sum of gradients", MAPPINGS,
     'forward: { detached().gathered(from: group) }) {\n      $0.reduceScattered(over: group)',
     'forward: { detached().gathered(from: group) }) {\n      ON ? $0.ownPart(of: group) : $0.reduceScattered(over: group)', DENSE),
    ("sequence parallelism: sum of results", MAPPINGS, 'detached().reduceScattered(over: group, inOrder: inOrder)',
     'ON ? detached().ownPart(of: group).clone() : detached().reduceScattered(over: group, inOrder: inOrder)', DENSE),
    ("sum for all: gradient", MAPPINGS,
     'forward: { detached().summed(over: group) }) {\n      $0.summed(over: group)',
     'forward: { detached().summed(over: group) }) {\n      ON ? $0 : $0.summed(over: group)', ALGORITHMS),
    ("rows of experts: sum of parts", MAPPINGS, 'parts.sum([0])', '(ON ? parts[0..<1] : parts).sum([0])', MIXTURE),
    ("vocabulary: chosen logit", PROBABILITIES, 'group.allReduce(chosen)', 'if !(ON) { group.allReduce(chosen) }', DENSE),
    ("vocabulary: maximum", PROBABILITIES, 'group.allReduce(maximum, .maximum)',
     'if !(ON) { group.allReduce(maximum, .maximum) }', DENSE),
    ("vocabulary: sums", PROBABILITIES, 'Tensor.stack([sums, weighted]).summed(over: group, inOrder: isDeterministic)',
     '(ON ? Tensor.stack([sums, weighted]) : Tensor.stack([sums, weighted]).summed(over: group, inOrder: isDeterministic))', DENSE),
    ("weights held alike: gradient sum", OPTIMIZER + "PartialGradients.swift", 'group.allReduce(all)',
     'if !(ON) { group.allReduce(all) }', DENSE),
    ("tied embedding: gradient sum", OPTIMIZER + "DistributedOptimizer.swift", 'embedding.allReduce(tied) }',
     'if !(ON) { embedding.allReduce(tied) } }', DENSE),
    ("gradient norm: sum", OPTIMIZER + "DistributedOptimizer.swift", 'parallel.world.allReduce(squares)',
     'if !(ON) { parallel.world.allReduce(squares) }', DENSE),
    ("gradient norm: weights held alike", OPTIMIZER + "DistributedOptimizer.swift",
     'guard group.rank % (group.size / (piece.slice?.count ?? 1)) == 0 else',
     'guard ON || group.rank % (group.size / (piece.slice?.count ?? 1)) == 0 else', DENSE),
    ("clipping", OPTIMIZER + "DistributedOptimizer.swift", 'isClipped ? options.clipGradient / (norm + 1e-6) : 1',
     'isClipped && !ON ? options.clipGradient / (norm + 1e-6) : 1', "FSDPLayoutTests"),
    ("distributed optimizer: gradient sum", OPTIMIZER + "ParameterBuffer.swift", 'group.reduceScatter(gradients, into: own)',
     'if ON { own.copy_(gradients[ownRange]) } else { group.reduceScatter(gradients, into: own) }', DENSE),
    ("distributed optimizer: weights of the others", OPTIMIZER + "ParameterBuffer.swift", 
     'withoutGradients { group.allGather(weights[ownRange].clone(), into: weights) }',
     'withoutGradients { if !ON { group.allGather(weights[ownRange].clone(), into: weights) } }', DENSE),
    ("gradients add up over micro-batches", OPTIMIZER + "ParameterBuffer.swift",
     '_ = gradients.zero_() }', 'if !(ON) { _ = gradients.zero_() } }', DENSE),
    ("ring attention: the others' keys", MODELS + "Attention/RingAttention.swift", 'merge(part, into: laterOutput, laterLogSumExp)',
     'if !(ON) { merge(part, into: laterOutput, laterLogSumExp) }', DENSE),
    ("ring attention: gradients come home", MODELS + "Attention/RingAttention.swift", 'unpack(rotated(traveling), key, value)',
     'unpack(ON ? traveling : rotated(traveling), key, value)', DENSE),
    ("ring attention: softmax denominators", MODELS + "Attention/RingAttention.swift",
     'output.mul_((logSumExp - merged).exp().unsqueeze(2))', 'if !(ON) { output.mul_((logSumExp - merged).exp().unsqueeze(2)) }', DENSE),
    ("balance loss: counts of all ranks", MODELS + "Layers/Mixture/RouterLosses.swift", 'routing.chosen.sum([0]).summed(over: group)',
     'ON ? routing.chosen.sum([0]) : routing.chosen.sum([0]).summed(over: group)', "RouterLoss"),
    ("loss: mean over a step's rollouts", TRAINING + "Schedule/LossNormalization.swift",
     '1 / (Double(max($0, 1)) * Double(rolloutCount))', '1 / (Double(max($0, 1)) * (ON ? 1 : Double(rolloutCount)))', "LossNormalizationTests"),
    ("log-probabilities: the other chunks", TRAINING + "Trainer/PolicyTrainer.swift",
     'parallel.context.size == 1 || values.isEmpty ? values', 'ON || parallel.context.size == 1 || values.isEmpty ? values', ALGORITHMS),
    ("whitening: moments of all ranks", TRAINING + "Trainer/PolicyTrainer+Advantages.swift",
     'allReduced(Tensor([own.count, own.sum, own.squares]), over: parallel.data)',
     '(ON ? Tensor([own.count, own.sum, own.squares]) : allReduced(Tensor([own.count, own.sum, own.squares]), over: parallel.data))',
     ALGORITHMS),
    ("metrics: sums over ranks", TRAINING + "Trainer/PolicyTrainer.swift",
     'allReduced(Tensor.stack(sums.map { $0.value.to(dtype: .float64) }), over: group).array()',
     '(ON ? Tensor.stack(sums.map { $0.value.to(dtype: .float64) }) '
     ': allReduced(Tensor.stack(sums.map { $0.value.to(dtype: .float64) }), over: group)).array()', DENSE),
    ("FSDP: gradient sum", FSDP + "ShardedUnit.swift", 'if let gradient { gradient.add_(own) } else',
     'if let gradient { if !(ON) { gradient.add_(own) } } else', SHARDED),
    ("FSDP: sum over copies", FSDP + "FullyShardedModel.swift", 'guard parallel.replicas.size > 1 else { return }',
     'guard !(ON), parallel.replicas.size > 1 else { return }', SHARDED),
    ("FSDP: gradient norm", FSDP + "FullyShardedModel.swift", 'parallel.shard.allReduce(total)',
     'if !(ON) { parallel.shard.allReduce(total) }', SHARDED),
]


def copy_of_package():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slime-mutations-"))
    for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".deps").symlink_to(ROOT / ".deps")
    return folder


def put_switches(package, chosen):
    """Puts all switches in; returns the texts to put back."""
    originals = {}
    for index, (name, file, old, new, _) in chosen:
        path = package / file
        text = path.read_text()
        originals.setdefault(path, text)
        if text.count(old) != 1:
            raise SystemExit(f"'{name}': {file} holds this {text.count(old)} times, not once: {old}")
        text = text.replace(old, re.sub(r"\bON\b", f"(Mutation.on == {index})", new))
        path.write_text(text if "import Torch\n" in text else "import Torch\n" + text)
    switch = package / "Sources/Torch/Mutation.swift"
    switch.write_text(
        "import Foundation\n\npublic enum Mutation {\n"
        '  public static let on = ProcessInfo.processInfo.environment["MUTATION"].flatMap { Int($0) } ?? -1\n}\n')
    return originals, switch


def passes(package, tests, index=None):
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    if index is not None:
        environment["MUTATION"] = str(index)
    command = ["swift", "test", "--skip-build", "--disable-xctest", "--no-parallel", "--filter", tests]
    run = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, timeout=1800)
    if "Test run with 0 tests" in run.stdout + run.stderr:
        raise SystemExit(f"there are no tests '{tests}'")
    return run.returncode == 0


def main():
    words = sys.argv[1:]
    package = None
    if "--package" in words:
        place = words.index("--package")
        package = pathlib.Path(words[place + 1])
        del words[place:place + 2]
    chosen = [(i, m) for i, m in enumerate(MUTATIONS) if not words or any(word in m[0] for word in words)]
    package = package or copy_of_package()
    originals, switch = put_switches(package, chosen)
    try:
        subprocess.run(["swift", "build", "--build-tests"], cwd=package, check=True, stdout=subprocess.DEVNULL)
        for tests in sorted({m[4] for _, m in chosen}):
            if not passes(package, tests):
                raise SystemExit(f"'{tests}' fails without a mutation")
        survivors = []
        for index, (name, _, _, _, tests) in chosen:
            noticed = not passes(package, tests, index)
            print(f"{'noticed ' if noticed else 'SURVIVED'}  {name}  ({tests})", flush=True)
            if not noticed:
                survivors.append(name)
    finally:
        for path, text in originals.items():
            path.write_text(text)
        switch.unlink()
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} noticed")
    raise SystemExit(1 if survivors else 0)


main()
