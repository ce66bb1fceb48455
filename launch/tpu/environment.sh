# Environment of a run on accelerators, each line with its reason. Sourced by supervise.sh and slurm.sh, on every host,
# before the run; what is set already is left as it is, so any line can be overruled from outside.
# shellcheck shell=bash

# Programs for 128k take minutes to compile. On a folder that all hosts share, a restart finds them.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$HOME/.cache/ulorl_jax/compiled}

case ${ULORL_ACCELERATOR:-tpu} in
  tpu)
    # All of them let chips compute while they send; most of what a fully sharded update sends is weights, gathered.
    flags=(
      # An all-gather becomes a start and an end, between which the compiler can put work that does not wait for it.
      --xla_enable_async_all_gather=true
      # A collective goes into one program with products that run beside it, so that it advances while they do.
      --xla_tpu_enable_async_collective_fusion=true
      # All-gathers are among the collectives for which that is done.
      --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true
      # One collective may be spread over several products, where sending takes longer than one of them.
      --xla_tpu_enable_async_collective_fusion_multiple_steps=true
      # The core that computes may be given both at once, instead of one after the other.
      --xla_tpu_overlap_compute_collective_tc=true
    )
    export LIBTPU_INIT_ARGS=${LIBTPU_INIT_ARGS:-${flags[*]}}
    ;;
  cuda)
    # The train state and the KV cache are the memory: what is not taken at start cannot be taken in one piece later.
    export XLA_PYTHON_CLIENT_MEM_FRACTION=${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.92}
    # Sends gradients and gathers weights while other layers compute.
    export XLA_FLAGS=${XLA_FLAGS:---xla_gpu_enable_latency_hiding_scheduler=true}
    ;;
  *)
    echo "environment.sh: ULORL_ACCELERATOR=${ULORL_ACCELERATOR} is neither tpu nor cuda" >&2
    exit 1
    ;;
esac
