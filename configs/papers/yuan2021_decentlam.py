"""Yuan, Chen, Huang, Zhang, Pan, Xu, Yin 2021, "DecentLaM: Decentralized Momentum SGD for
Large-batch Deep Training".

Paper: arXiv:2104.11981, ICCV 2021; sections 3 to 6, Table 2.
Claims: if nodes average with neighbors only, momentum SGD (DmSGD) converges to a point away from
the optimum, and further away with a larger momentum or learning rate. Small batches hide this bias
in their noise; large ones lose accuracy. DecentLaM removes the momentum's share of the bias and
keeps the accuracy of an all-reduce (PmSGD) up to large batches.

Variants (`--config=configs/papers/yuan2021_decentlam.py:VARIANT`):
    digits              scikit-learn's digits, embedded; 16 nodes, one hidden layer; the default
    mnist               MNIST, 16 nodes, small convolutional network
    mnist_tuning        tunes its learning rates on a held-out fifth of the training split
    imagenet_resnet50   ResNet-50, 8 nodes, batches of up to 32,768

The nodes are stacked in one process. Each owns a shard of the data with few labels (Dirichlet
concentration 0.1); in imagenet_resnet50 each takes a share of every shuffled batch. `parallel_B` is
DmSGD on the complete graph, which equals momentum SGD on the mean gradient, as after an all-reduce
(tested). All arms of a batch size have the same learning rate. For digits it is the best of several
rates, a factor of 2 apart, for `parallel_B`, by val_accuracy on `train[80%:]` after training on
`train[:80%]`, seeds 100 and 101; ties went to the smaller rate. Those of mnist are chosen in the
same way, from mnist_tuning:

    python -m lbkeras.replication.selection runs/yuan2021_mnist_tuning

The paper measures the bias on linear regression, which tests/methods/decentralized/base_test.py
repeats. Here accuracy and the final `consensus_distance` show it, sqrt(1/n sum |x_i - mean|^2).

Run by us: what RESULTS.md lists, with n, spread, hardware and hours.
Not run by us: imagenet_resnet50 (weeks on 2 CPU cores).

    lbkeras replicate --config=configs/papers/yuan2021_decentlam.py:digits \\
        --workdir=runs/yuan2021_digits
"""

from lbkeras import config as common

PAPER = dict(
    citation="Yuan et al. 2021",
    title="DecentLaM: Decentralized Momentum SGD for Large-batch Deep Training",
    arxiv="2104.11981",
    setting="ImageNet, ResNet-50, 8 nodes (Table 2); other rows of the table not recovered",
    arms=dict(
        decentlam_2048=dict(accuracy=0.7643, tag="secondary"),
        decentlam_8192=dict(accuracy=0.7619, tag="secondary"),
        decentlam_16384=dict(accuracy=0.7673, tag="secondary", note="120 epochs instead of 90"),
        decentlam_32768=dict(accuracy=0.7622, tag="secondary", note="120 epochs instead of 90"),
    ),
)

# For each batch size: the learning rate of all its arms.
_RATES = dict(
    digits={64: 0.05, 256: 0.2, 704: 0.8},
    mnist={256: 0.05, 2048: 0.2, 8192: 0.4},
)
# For each batch size: the middle of the five rates that mnist_tuning tries.
_MIDDLES = {256: 0.05, 2048: 0.2, 8192: 0.4}
_OPTIMIZERS = dict(
    parallel=("all-reduce momentum SGD", dict(name="DmSGD", topology="complete")),
    dmsgd=("DmSGD on a ring", dict(name="DmSGD", topology="ring")),
    decentlam=("DecentLaM on a ring", dict(name="DecentLaM", topology="ring")),
    decentlam_exponential=(
        "DecentLaM on the exponential graph",
        dict(name="DecentLaM", topology="exponential"),
    ),
)


def _middle(sizes):
    return sorted(sizes)[len(sizes) // 2]


def _arm(optimizer, batch_size, nodes, plan):
    words, settings = _OPTIMIZERS[optimizer]
    return dict(
        description=f"{words}, batch {batch_size:,}, learning rate "
        f"{plan.get('learning_rate', plan.get('learning_rates', (0,))[0]):g}",
        optimizer=settings | dict(num_nodes=nodes, weight_decay=1e-4),
        plan=plan | dict(batch_size=batch_size),
    )


def _arms(rates, nodes):
    arms = {}
    for optimizer in _OPTIMIZERS:
        for batch_size, rate in rates.items():
            if optimizer == "decentlam_exponential" and batch_size != _middle(rates):
                continue
            arms[f"{optimizer}_{batch_size}"] = _steps_arm(optimizer, batch_size, nodes, rate)
    return arms


def _tuning_arms(rates, nodes):
    """Returns arms of `parallel_B` only, whose rate all arms of a batch size use."""
    return {
        common.rate_arm(f"parallel_{batch_size}", rate): _steps_arm(
            "parallel", batch_size, nodes, rate
        )
        for batch_size, middle in rates.items()
        for rate in common.rates_around(middle)
    }


def _steps_arm(optimizer, batch_size, nodes, rate):
    return _arm(optimizer, batch_size, nodes, dict(learning_rates=(rate, rate / 10)))


def _experiment(*, data, model, epochs, boundary, warmup_epochs, tuning=False, **more):
    nodes = 16
    make_arms, rates = (_tuning_arms, _MIDDLES) if tuning else (_arms, _RATES[data["name"]])
    return common.experiment(
        data=data | dict(dirichlet_alpha=0.1),
        model=model | dict(num_classes=10),
        optimizer=dict(name="DmSGD", topology="complete", num_nodes=nodes, weight_decay=1e-4),
        plan=dict(
            name="steps_plan",
            epochs=epochs,
            boundaries=(boundary,),
            learning_rates=(0.05, 0.005),
            batch_size=64,
            momentum=0.9,
            warmup_epochs=warmup_epochs,
        ),
        arms=make_arms(rates, nodes),
        tuning=tuning,
        **more,
    )


def digits():
    """Digits: 16 nodes with 89 examples each; the largest batch is half of them."""
    return _experiment(
        data=dict(name="digits", num_examples=1424),
        model=dict(name="mlp", hidden_sizes=(64,)),
        epochs=60,
        boundary=40,
        warmup_epochs=6.0,
        seeds=20,
        first_seed=10,
    )


def mnist(tuning=False):
    """MNIST: 16 nodes with 3,750 examples each."""
    return _experiment(
        data=dict(name="mnist", num_examples=60_000),
        model=dict(name="small_cnn", width=8),
        epochs=10,
        boundary=7,
        warmup_epochs=1.0,
        seeds=1 if tuning else 3,
        tuning=tuning,
    )


def imagenet_resnet50():
    """ResNet-50: 90 epochs with step decay for batches up to 8,192, above that 120 with a cosine.

    The rates (0.1 per 256 examples), the longer training of the largest batches and the exponential
    graph are recalled, not looked up. Each node has its own batch normalization, as in the paper.
    We do not know its weight decay (of kernels), image sizes and augmentation: they are those of
    Goyal et al. That every gamma starts at 1 is a guess.
    """
    arms = {}
    for optimizer in ("parallel", "decentlam"):
        for batch_size in (2048, 8192, 16_384, 32_768):
            rate = 0.1 * batch_size / 256
            plan = dict(
                name="steps_plan",
                epochs=90,
                boundaries=(30, 60, 80),
                learning_rates=[rate / 10**k for k in range(4)],
                momentum=0.9,
                warmup_epochs=5.0,
            )
            if batch_size > 8192:
                plan = dict(
                    name="cosine_plan",
                    epochs=120,
                    learning_rate=rate,
                    momentum=0.9,
                    warmup_epochs=20.0,
                )
            arm = _arm(optimizer, batch_size, 8, plan)
            if optimizer == "decentlam":
                arm["optimizer"]["topology"] = "exponential"
                arm["description"] = arm["description"].replace("a ring", "the exponential graph")
            arms[f"{optimizer}_{batch_size}"] = arm
    first = arms["parallel_2048"]
    return common.experiment(
        data=common.imagenet(dirichlet_alpha=0.0),
        model=dict(name="resnet50", num_classes=1000, zero_gamma=False, weight_decay=0.0),
        metrics=common.TOP_5,
        optimizer=dict(first["optimizer"]),
        plan=dict(first["plan"]),
        arms=arms,
        seeds=1,
    )


get_config = common.variants(
    digits=digits,
    mnist=mnist,
    imagenet_resnet50=imagenet_resnet50,
)


def get_claims(variant="digits"):
    """Returns the paper's claims and the tests that decide them (lbkeras.replication.claims)."""
    variant = variant or "digits"
    if variant == "mnist_tuning":
        return []  # tuning makes no claims
    if variant == "imagenet_resnet50":
        return [
            _keeps_accuracy(batch_size, f"parallel_{batch_size}")
            for batch_size in (2048, 8192, 16_384, 32_768)
        ] + [_keeps_accuracy(8192, "decentlam_2048")]
    sizes = list(_RATES[variant])
    smallest, largest = min(sizes), max(sizes)
    middle = _middle(sizes)
    exponential = f"decentlam_exponential_{middle}"
    return [
        *(_keeps_accuracy(size, f"parallel_{size}") for size in sizes),
        _keeps_accuracy(largest, f"decentlam_{smallest}"),
        dict(
            name=f"dmsgd_{largest}_loses_accuracy",
            statement=f"At batch {largest:,} DmSGD loses test accuracy against an all-reduce.",
            source=f"{PAPER['citation']}, section 1, figure 1",
            tag="recalled",
            test="worse",
            arm=f"dmsgd_{largest}",
            baseline=f"parallel_{largest}",
        ),
        dict(
            name=f"decentlam_{largest}_beats_dmsgd",
            statement=f"At batch {largest:,} DmSGD has a lower test accuracy than DecentLaM.",
            source=f"{PAPER['citation']}, section 6, Table 2",
            tag="recalled",
            test="worse",
            arm=f"dmsgd_{largest}",
            baseline=f"decentlam_{largest}",
        ),
        *(_is_further_apart(f"dmsgd_{size}", f"decentlam_{size}") for size in sizes),
        _is_further_apart(f"decentlam_{middle}", exponential),
        _is_further_apart(exponential, f"parallel_{middle}"),
    ]


def _keeps_accuracy(batch_size, baseline):
    arms = PAPER["arms"]
    arm = f"decentlam_{batch_size}"
    known = arm in arms and baseline in arms
    return dict(
        name=f"{arm}_keeps_accuracy_of_{baseline}",
        statement=f"The test accuracy of {arm} equals that of {baseline} after the same epochs.",
        source=f"{PAPER['citation']}, section 6, Table 2",
        tag="secondary" if known else "recalled",
        test="not_worse",
        arm=arm,
        baseline=baseline,
        margin=0.01,
        paper=dict(arm=arms[arm]["accuracy"], baseline=arms[baseline]["accuracy"]) if known else {},
    )


def _is_further_apart(arm, baseline):
    return dict(
        name=f"{arm}_is_further_apart_than_{baseline}",
        statement=f"At the end the nodes of {arm} are further from their mean than those of "
        f"{baseline}.",
        source=f"{PAPER['citation']}, section 5",
        tag="recalled",
        test="worse",
        arm=arm,
        baseline=baseline,
        metric="consensus_distance",
    )
