"""Ways to break the package: a sign, a factor, a check, each with the tests that must
notice."""

ONE_SIDED = "learning/nudging/_one_sided.py"
CENTERED = "learning/nudging/_centered.py"
RANDOM_SIGN = "learning/nudging/_random_sign.py"
HELD = "learning/nudging/_clamped.py"
PHASE = "learning/_phase.py"
METHOD = "learning/_equilibrium_prop.py"
TOGETHER = "relaxation/_together.py"
COLUMNS = "test_relaxation_columns.py -k own_energy"
FACTORS = "relaxation/_factors.py"
SPECTRUM = "relaxation/_spectrum.py"
UNROLLED = "learning/references/_unrolled.py"

CLOSED = "test_learning_exact.py -k quadratic_bias"
ORIGINAL = "test_learning_original.py -k agree and two and float64"
SIGNS = "test_learning_rates.py -k sign"
CLAMPED = "test_learning_invariants.py -k contrastive_hebbian"
READOUT = "test_learning_rates.py -k readouts_own"
BATCH = "test_learning_invariants.py -k weighted_mean and one-sided"
BATCH_UNROLLED = "test_learning_invariants.py -k weighted_mean and unrolled"
CONTRAST = "test_learning_invariants.py -k scalar_of_the_phases"
PADDING = "test_learning_invariants.py -k padding_alone and centered"
OUTCOMES = "test_learning_outcomes.py -k phase or step or starts"
ERRORS = "test_learning_errors.py -k clamped_refuses or refuses_loops"

# file, what it says, what the mutant says, the tests that must fail
MUTANTS = [
    (CENTERED, "share = 0.5 / self.beta", "share = 1.0 / self.beta", CLOSED),
    (CENTERED, "state, -share)", "state, share)", CLOSED),
    (CENTERED, "nudge(y, -self.beta)", "nudge(y, 0 * self.beta)", CLOSED),
    (ONE_SIDED, "state, -1 / beta)", "state, 1 / beta)", CLOSED),
    (ONE_SIDED, "beta), state, 1 / beta)", "beta), state, 2 / beta)", CLOSED),
    (ONE_SIDED, "nudge(y, beta)", "nudge(y, 2 * beta)", CLOSED),
    (RANDOM_SIGN, "self.beta * self.sign(key)", "self.beta", SIGNS),
    (RANDOM_SIGN, "jax.random.bernoulli(key)", "jax.random.bernoulli(key, 0.6)", SIGNS),
    (HELD, "Phase(landscape, state, -1.0)", "Phase(landscape, state, 1.0)", CLAMPED),
    (HELD, "landscape.clamp(landscape.energy_fn.output, y)", "landscape", CLAMPED),
    (
        HELD,
        "any(map(eqx.is_inexact_array, jax.tree.leaves(model.cost)))",
        "False",
        ERRORS,
    ),
    (PHASE, "                scape.beta,", "                None,", READOUT),
    (PHASE, "energy + scape.beta *", "energy - scape.beta *", READOUT),
    (PHASE, "phases[k].weight * batch_mean", "batch_mean", CLOSED),
    (TOGETHER, "tuple(id(leaf) for leaf in", "tuple(0 for leaf in", CONTRAST),
    (PHASE, "return jnp.mean(values)", "return jnp.sum(values)", CLOSED),
    (PHASE, "jnp.sum(weight * values) /", "jnp.sum(values) /", BATCH),
    (PHASE, "jnp.where(total == 0, 1, total)", "total", PADDING),
    (METHOD, "[p.state for p in pending]", "[None for p in pending]", ORIGINAL),
    (METHOD, "self.solver, state0", "self.solver, None", OUTCOMES),
    (METHOD, "contrast_grad(phases, weight=weight)", "contrast_grad(phases)", BATCH),
    (METHOD, "free.state, y), weight)", "free.state, y), None)", BATCH),
    (METHOD, "is None else self.nudged_solver", "is None else self.solver", OUTCOMES),
    (METHOD, "Outcome(cost, free, nudged)", "Outcome(cost, free)", OUTCOMES),
    (METHOD, "e.state, p.weight)", "free.state, p.weight)", CLOSED),
    (UNROLLED, "free.state, y), weight)", "free.state, y), None)", BATCH_UNROLLED),
    (UNROLLED, "self.solver, state0", "self.solver, None", OUTCOMES),
    (UNROLLED, "if self.solver.stop is not None", "if False", ERRORS),
    ("energies/_cost.py", "0.5 * jnp.sum((output", "jnp.sum((output", ORIGINAL),
    (
        "relaxation/_landscape.py",
        "energy + self.beta *",
        "energy - self.beta *",
        CLOSED,
    ),
]

ADJOINT = "test_adjoint.py -k downstream and centered"
SCALE = "test_adjoint.py -k scale_of_the_cotangent and centered"
CIRCLE = "test_holomorphic.py -k closed_form"
COUPLED = "test_coupled.py -k closed_form"
LINEAR = "test_references_linear.py"
IMPLICIT = "test_references_implicit.py"
SERIES = "test_references_series.py -k unrolled_steps"
ONLINE = "test_online.py"
ODE = "test_leaky_integrator.py"
CHECKS = "test_diagnostics.py"
CLAIMS = "test_claims.py"
SAMPLERS = "test_samplers.py"

# The same for the gradients' references, the other rules, and the diagnostics.
MUTANTS += [
    (
        HELD,
        'isinstance(holdable_cost("Clamped", landscape, y), CrossEntropy)',
        'holdable_cost("Clamped", landscape, y) is None',
        ERRORS,
    ),
    (METHOD, "factor = largest * jnp.sum(weight)", "factor = largest", ADJOINT),
    (METHOD, "model=parts[0], x=parts[1])", "model=parts[0])", ADJOINT),
    (
        "learning/_adjoint.py",
        "lambda g: g / per_example(",
        "lambda g: g * per_example(",
        SCALE,
    ),
    ("learning/_adjoint.py", "jnp.sum(y * output)", "-jnp.sum(y * output)", ADJOINT),
    ("learning/nudging/_holomorphic.py", "2 / (n * beta)", "1 / (n * beta)", CIRCLE),
    ("learning/nudging/_holomorphic.py", "range(n // 2 + 1)", "range(n // 2)", CIRCLE),
    ("learning/nudging/_holomorphic.py", "2j * cmath.pi", "1j * cmath.pi", CIRCLE),
    ("learning/nudging/_coupled.py", "o - self.eta", "o + self.eta", COUPLED),
    (
        "learning/nudging/_coupled.py",
        "landscape.project(wanted.hold(state))",
        "wanted.hold(state)",
        "test_coupled.py -k held_where",
    ),
    (HELD, "isinstance(model.cost, Overlap)", "False", "test_coupled.py -k claimed"),
    (
        "energies/interactions/_dense.py",
        "* b.reshape(-1))",
        "* jnp.conj(b.reshape(-1)))",
        "test_relaxation_complex.py -k closed_form",
    ),
    (
        "relaxation/_analytic.py",
        '"conj", "sign", "max",',
        '"sign",',
        "test_relaxation_complex.py -k analytic",
    ),
    ("learning/references/_implicit.py", "c / size)", "c)", f"{LINEAR} -k curved"),
    (
        "learning/references/_implicit.py",
        "jnp.where(converged, scale, jnp.nan)",
        "scale",
        f"{LINEAR} -k inverted",
    ),
    (
        "learning/references/_implicit.py",
        "jnp.maximum(residual, noise)",
        "residual",
        f"{LINEAR} -k nearly",
    ),
    (
        "learning/references/_implicit.py",
        "return unit.activate(drive)",
        "return drive",
        f"{IMPLICIT} -k saturated",
    ),
    (
        "learning/references/_linear.py",
        "v - self.slope(self.feedback(v))",
        "v + self.slope(self.feedback(v))",
        f"{IMPLICIT} -k numpy",
    ),
    (
        "learning/references/_adjoint_gradient.py",
        "state, y), weight)",
        "state, y), None)",
        f"{LINEAR} -k padding",
    ),
    (
        "learning/references/_recurrent_backprop.py",
        "_Series(back(series.term), total,",
        "_Series(back(series.term), series.total,",
        SERIES,
    ),
    (
        UNROLLED,
        "state, _ = steps(landscape, carry, last)",
        "state, _ = steps(landscape, carry, last - 1)",
        SERIES,
    ),
    (
        "learning/online/_continual.py",
        "share = method.rate / beta",
        "share = method.rate",
        f"{ONLINE} -k numpy and symm",
    ),
    (
        "learning/online/_continual.py",
        "p - share.astype",
        "p + share.astype",
        f"{ONLINE} -k numpy and symm",
    ),
    (
        "learning/online/_continual.py",
        "return batch_mean(beta * at(params)",
        "return 0 * batch_mean(beta * at(params)",
        f"{ONLINE} -k readout",
    ),
    (
        "learning/online/_symmetric.py",
        "Phase(landscape, old, -1.0)",
        "Phase(landscape, old, 0.0)",
        f"{ONLINE} -k telescopes and chain",
    ),
    (
        "learning/online/_presynaptic.py",
        "held = read(rates, old)",
        "held = read(rates, new)",
        f"{ONLINE} -k sums and lateral",
    ),
    (
        "learning/online/_presynaptic.py",
        "sides if both_ways else sides[-1:]",
        "sides if both_ways else sides[:1]",
        f"{ONLINE} -k numpy and one",
    ),
    (
        "relaxation/_single.py",
        "lambda a: a[0], moves",
        "lambda a: 0.9 * a[0], moves",
        f"{ODE} -k matrix",
    ),
    (
        "relaxation/_diffrax.py",
        "found.ts[-1] >= method.max_time",
        "found.ts[-1] < method.max_time",
        f"{ODE} -k reported",
    ),
    ("diagnostics/_compare.py", "norm(g - r)", "norm(g + r)", f"{CHECKS} -k likeness"),
    (
        "diagnostics/_finite_difference.py",
        "/ (2 * h)",
        "/ h",
        f"{CHECKS} -k finite_differences and two",
    ),
    (
        "diagnostics/_curvature.py",
        "1 / jnp.where(largest",
        "jnp.where(largest",
        f"{CHECKS} -k quadratic_energy",
    ),
    (
        "diagnostics/_updates.py",
        "(a - b) / beta",
        "(a + b) / beta",
        f"{CHECKS} -k passes_through and skips",
    ),
    (
        "relaxation/solvers/_euler.py",
        "s + per_example(self.step_size, s) * f",
        "s + 2 * per_example(self.step_size, s) * f",
        f"{CLAIMS} -k falls_at",
    ),
    (
        "relaxation/samplers/_gibbs.py",
        "sigmoid(d / self.temperature)",
        "sigmoid(d)",
        f"{SAMPLERS} -k visits and nudged",
    ),
    (
        "relaxation/samplers/_gibbs.py",
        "return Landscape(landscape.model, landscape.x, held=landscape.held).blocks()",
        "return landscape.blocks()",
        f"{SAMPLERS} -k nothing_but",
    ),
    (
        "relaxation/samplers/_langevin.py",
        "jnp.sqrt(2 * self.step_size",
        "jnp.sqrt(self.step_size",
        f"{SAMPLERS} -k covariance",
    ),
    (
        "relaxation/samplers/_langevin.py",
        "flatten(landscape.project(moved))",
        "flatten(moved)",
        f"{SAMPLERS} -k becomes_euler",
    ),
    (
        "relaxation/samplers/_metropolis.py",
        "[s, *(2 * wall - s for wall in walls(unit) if math.isfinite(wall))]",
        "[s]",
        f"{SAMPLERS} -k MALA",
    ),
    (
        "relaxation/_landscape.py",
        "self.cost(self._halfway(state))",
        "self.cost(state)",
        f"{SAMPLERS} -k visits and nudged",
    ),
    (
        "learning/_stochastic.py",
        "m + (v - m) / (k + 1)",
        "m + (v - m) / (k + 2)",
        "test_stochastic.py -k weight",
    ),
    (
        "learning/_stochastic.py",
        "jnp.where(k == 0, burn_in, 0)",
        "0",
        "test_stochastic.py -k falls or outcome",
    ),
    (
        TOGETHER,
        "return problem(landscape), structure, kinds",
        "return structure, kinds",
        "test_relaxation_together.py -k unlike",
    ),
    (
        "relaxation/columns/_products.py",
        "order = (*free, *summed)",
        "order = (*free, *reversed(summed))",
        COLUMNS,
    ),
    (
        "relaxation/columns/_products.py",
        "out = out.transpose(swap)",
        "out = out",
        COLUMNS,
    ),
    (
        "relaxation/columns/_columns.py",
        "moves.update(line.targets)",
        "pass",
        COLUMNS,
    ),
    (
        SPECTRUM,
        "jnp.sqrt(1 - rho**2)",
        "jnp.sqrt(1 + rho**2)",
        "test_relaxation_tune.py -k best_factor",
    ),
    (
        SPECTRUM,
        "growth[-1] * growth[-2]",
        "growth[-1] * growth[-1]",
        "test_relaxation_tune.py -k has_their_slope",
    ),
    (
        FACTORS,
        "jnp.argmin(found)",
        "jnp.argmax(found)",
        "test_relaxation_tune.py -k fewest_sweeps",
    ),
    (
        "relaxation/solvers/_caution.py",
        "0.5 * caution.share",
        "1.0 * caution.share",
        "test_relaxation_tune.py -k under_any_factor",
    ),
    (
        "relaxation/solvers/_nesterov.py",
        "(age - 1) / older",
        "age / older",
        "test_relaxation_nesterov.py -k recursion",
    ),
    (
        "relaxation/solvers/_nesterov.py",
        "inner(pulled, went) < 0",
        "inner(pulled, went) < -1e9",
        "test_relaxation_nesterov.py -k recursion",
    ),
    (
        "data/_augmentation.py",
        "0, 2 * p + 1",
        "0, 2 * p",
        "test_data_augmentation.py -k equally",
    ),
]

FAST = "test_clamped_stdp.py -k number_for_number"
VERDICT = "test_reproduce.py -k tolerance_is_reproduced or nothing_is_decided"
SHORT = "test_reproduce.py -k cut_short"
STDP = "learning/online/_clamped_stdp.py"
BLOCKS = "relaxation/solvers/_block_coordinate.py"
REPRODUCE = "apps/reproduce"

# The fast variant of the paper's code, and published experiments.
MUTANTS += [
    (STDP, "free.state, clamped.state", "clamped.state, free.state", FAST),
    (STDP, "pending.landscape, solver", "landscape, solver", FAST),
    (
        STDP,
        "            landscape, free.state",
        "            pending.landscape, free.state",
        "test_clamped_stdp.py -k symmetric_rule",
    ),
    (BLOCKS, "for k in self.order if", "for k in sorted(self.order) if", FAST),
    (BLOCKS, "len(named) < len(self.order)", "False", "test_clamped_stdp.py -k once"),
    (f"{REPRODUCE}/_verdict.py", "low <= mean <= high", "low < mean < high", VERDICT),
    (f"{REPRODUCE}/_verdict.py", "check.low - check", "check.low + check", VERDICT),
    (
        f"{REPRODUCE}/_verdict.py",
        "if not complete or not values",
        "if not values",
        VERDICT,
    ),
    (f"{REPRODUCE}/_training.py", '"resume" if begun else "out"', '"out"', SHORT),
    (
        f"{REPRODUCE}/_perform.py",
        "value - _read(check, of[check.minus])",
        "value + _read(check, of[check.minus])",
        "test_reproduce.py -k seed_by_seed",
    ),
    (
        f"{REPRODUCE}/measurements/stdp_timing.py",
        "one_way + back",
        "one_way - back",
        "test_stdp_timing.py -k timing_closed_form",
    ),
]

INITIALIZED = "learning/_initialized_ep.py"
PREDICTOR = "energies/_initialized.py"
TUNE = "learning/_tune.py"
DELTA_RULE = "test_initialized.py -k delta_rule_of_each_layer"
FORWARD = "test_initialized.py -k feedforward_pass"
INSIDE = "test_initialized.py -k method_inside"

# Initialized Equilibrium Propagation.
MUTANTS += [
    (INITIALIZED, "jnp.subtract, start", "jnp.add, start", DELTA_RULE),
    (
        INITIALIZED,
        "inner(drives, error), weight)",
        "inner(drives, error), None)",
        DELTA_RULE,
    ),
    (INITIALIZED, "gradient.energy, predictor,", "predictor, gradient.energy,", INSIDE),
    (
        INITIALIZED,
        "start if state0 is None else state0",
        "start",
        "test_initialized.py -k given_start",
    ),
    (
        INITIALIZED,
        "start if state0 is None else state0",
        "state0",
        "test_initialized.py -k standard_errors",
    ),
    (PREDICTOR, "jax.lax.stop_gradient(_activated", "(_activated", DELTA_RULE),
    (PREDICTOR, "below @ weight + bias", "below @ weight", FORWARD),
    (PREDICTOR, "self.start(self.drives(x))", "self.energy.init(x)", FORWARD),
    (
        PREDICTOR,
        "return unit.activate(drive) if unit.curvature[0] > 0 else drive",
        "return unit.activate(drive)",
        "test_initialized.py -k prediction_of_its_states",
    ),
    (
        "diagnostics/_parameters.py",
        "without_predictor(model.energy)",
        "model.energy",
        "test_initialized.py -k checked_without",
    ),
    (
        TUNE,
        "pending[-1].landscape,",
        "landscape,",
        "test_relaxation_tune.py -k factor_of_its_own",
    ),
    (
        TUNE,
        "nudged, free.state, batch=batch)",
        "nudged, None, batch=batch)",
        "test_relaxation_tune.py -k factor_of_its_own",
    ),
    (
        FACTORS,
        "min(1.0, batch / landscape.batch)",
        "_SHARE",
        "test_relaxation_tune.py -k share_of_the_examples",
    ),
]

FALLING = "test_relaxation_falling.py -k parabola"
FIXED = "test_relaxation_tune.py -k least_is_left"

# Over-relaxation that falls.
MUTANTS += [
    (BLOCKS, "(count % over / over) ** 2", "(count % over / over)", FALLING),
    (BLOCKS, "count % over / over", "count / over", FALLING),
    (BLOCKS, "count + 1", "count", FALLING),
    (BLOCKS, "(1 - (count", "(0 + (count", FALLING),
    (FACTORS, "argmin(jax.vmap(left)", "argmax(jax.vmap(left)", FIXED),
    (
        FACTORS,
        "slice(_EXAMPLES)",
        "slice(None)",
        "test_relaxation_tune.py -k first_256",
    ),
    (FACTORS, "float(solver.max_steps))", "_PERIOD)", FIXED),
    (
        TUNE,
        "relaxation_factors(part, landscape, y, state0)",
        "estimate_factors(part, landscape, state0)",
        "test_relaxation_tune.py -k where_its_phases_settle",
    ),
]

LOOP = "relaxation/_loop.py"
LOOKAHEAD = "test_relaxation_lookahead.py"

# The residual measured by the looks of a sweep.
MUTANTS += [
    (BLOCKS, "len(blocks) not in (1, 2)", "not blocks", f"{LOOKAHEAD} -k few_sweeps"),
    (
        BLOCKS,
        "return not nudged or landscape.output_leaf() in {*blocks[0], *landscape.held}",
        "return True",
        f"{LOOKAHEAD} -k order_of",
    ),
    (BLOCKS, "drives[k] = drive", "pass", f"{LOOKAHEAD} -k few_sweeps"),
    (
        LOOP,
        "return state, memory, solver.look(landscape, state, drive), None",
        "return state, memory, drive, None",
        f"{LOOKAHEAD} -k few_sweeps",
    ),
    (
        LOOP,
        "progress.memory, progress.drive), (state",
        "progress.memory, drive), (state",
        f"{LOOKAHEAD} -k handed_over",
    ),
    (
        "relaxation/_landscape.py",
        "return jax.tree.map(jnp.subtract, drive, slope)",
        "return drive",
        f"{LOOKAHEAD} -k known_from_the_free_one",
    ),
    (
        METHOD,
        "return phase.landscape.nudged_drive(phase.state, free_drive)",
        "return free_drive",
        f"{LOOKAHEAD} -k go_on_from_the_drive",
    ),
    (
        "relaxation/_zeros.py",
        "and 0 in known",
        "and 1 in known",
        "test_relaxation_zeros.py",
    ),
    (
        LOOP,
        "_freeze(done, progress.residual, error)",
        "error",
        f"{LOOKAHEAD} -k within_it",
    ),
    (
        "relaxation/_landscape.py",
        "if k != output:",
        "if True:",
        "test_relaxation_minimum.py",
    ),
]

CONJUGATE = "relaxation/solvers/_conjugate_sweeps.py"
CONJUGACY = "test_relaxation_conjugate.py"

# Conjugate sweeps.
MUTANTS += [
    (
        CONJUGATE,
        "pull, memory.direction)",
        "pull, pull)",
        f"{CONJUGACY} -k as_many_steps",
    ),
    (CONJUGATE, "+ bent", "- bent", f"{CONJUGACY} -k as_many_steps or fewer"),
    (CONJUGATE, "- share * straight", "", f"{CONJUGACY} -k as_many_steps or fewer"),
    (
        CONJUGATE,
        "self.drives[k] + _times(share, change)",
        "self.drives[k] + change",
        f"{CONJUGACY} -k equilibrium",
    ),
    (
        CONJUGATE,
        "return new, memory, _nudged_anew(landscape, state, new, known)",
        "return new, memory, known",
        f"{CONJUGACY} -k residual_is",
    ),
]
