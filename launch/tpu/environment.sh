# Environment of a run on accelerators, each line with its reason. Sourced by slice.sh, gke.sh and slurm.sh, on every
# host, before launch/train.py; what is set already is left as it is, so any line can be overruled from outside.
# shellcheck shell=bash

# Programs for 128k take minutes to compile. On a folder that all hosts share, a restart finds them.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$HOME/.cache/ulorl_jax/compiled}

case ${ULORL_ACCELERATOR:-tpu} in
  tpu)
    # An async collective runs while the cores compute: weights of the next layer are gathered beside this one's
    # products, which is most of what a fully sharded update sends.
    flags=(
      --xla_tpu_enable_async_collective_fusion=true
      --xla_tpu_enable_async_collective_fusion_fuse_all_gather=true
      --xla_tpu_enable_async_collective_fusion_multiple_steps=true
      --xla_tpu_overlap_compute_collective_tc=true
      --xla_enable_async_all_gather=true
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
