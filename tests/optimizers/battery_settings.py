"""Settings of the battery: one row for each optimizer that lbkeras exports."""

# Settings other than the defaults, which use every part of the rule.
SETTINGS = {
    "LARS": dict(learning_rate=0.1, weight_decay=0.01, trust_coefficient=0.05, nesterov=True),
    "LAMB": dict(learning_rate=0.1, weight_decay=0.01, beta_2=0.99),
    "AdamP": dict(learning_rate=0.1, weight_decay=0.01, delta=0.5, nesterov=True),
    "SGDP": dict(learning_rate=0.1, weight_decay=0.01, momentum=0.9, delta=0.5, nesterov=True),
    # With one node only the rule and Keras' part are tested; decentralized_test.py has several.
    "DmSGD": dict(learning_rate=0.1, weight_decay=0.01, mixing=[[1.0]]),
    "DecentLaM": dict(learning_rate=0.1, weight_decay=0.01, mixing=[[1.0]]),
    "GossipSGD": dict(learning_rate=0.1, weight_decay=0.01, num_nodes=1, momentum=0.9, seed=3),
    "ElasticAveragingSGD": dict(
        learning_rate=0.1, weight_decay=0.01, num_nodes=1, momentum=0.9, elasticity=0.5
    ),
    "RMSpropWarmup": dict(
        learning_rate=0.1,
        transition_center_steps=4,
        transition_period_steps=6,
        rmsprop_learning_rate=0.01,
    ),
}
# Initial learning rates of a cosine decay to 0 over 300 steps of the quadratic.
QUADRATIC_RATES = {
    "LARS": 1.0,
    "LAMB": 0.1,
    "AdamP": 0.1,
    "SGDP": 0.01,
    "RMSpropWarmup": 0.01,
    "DmSGD": 0.01,
    "DecentLaM": 0.01,
    "GossipSGD": 0.01,
    "ElasticAveragingSGD": 0.03,
}
# Nodes are stacked in one model, so several replicas are not allowed.
DECENTRALIZED = ("DmSGD", "DecentLaM", "GossipSGD", "ElasticAveragingSGD")
