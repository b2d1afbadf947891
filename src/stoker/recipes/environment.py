"""Which of the server's variables a job sees: an allow-list, so that no secret of the server can slip through."""

from __future__ import annotations

import re
from collections.abc import Mapping

ALLOWED = frozenset(
    {
        "CURL_CA_BUNDLE", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "REQUESTS_CA_BUNDLE",
        "SHELL", "TERM", "TMPDIR", "TZ", "USER",
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    }
)  # fmt: skip
"""Variables that pass by their name."""

ALLOWED_PREFIXES = (
    "ACCELERATE_", "CUDA_", "CUDNN_", "FI_", "GLOO_", "GOMP_", "HF_", "HIP_", "KMP_", "LC_", "MALLOC_", "MKL_",
    "NCCL_", "NVIDIA_", "OMP_", "OPENBLAS_", "PYTORCH_", "ROCR_", "SSL_CERT_", "TOKENIZERS_", "TORCH_",
    "TORCHINDUCTOR_", "TRANSFORMERS_", "TRITON_", "UCX_", "WANDB_", "XDG_",
)  # fmt: skip
"""Families of variables that pass, unless a name in them tells of a secret."""

_SECRET = re.compile(
    r"(?:^|_)(?:\w*TOKEN|TOKENS|\w*KEYS?|\w*SECRETS?|PASS\w*|PWD|CREDENTIALS?|AUTH\w*|COOKIES?)(?:_|$)"
)
_WITH_CREDENTIALS = re.compile(r"^[^/]*//[^/]*@|^[^/@]+:[^/@]+@")


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables of the server that a job may see.

    Names of secrets stay behind even where their family passes (HF_TOKEN, WANDB_API_KEY), and so does an address with
    a user and a password in it: such things come with the job, as its secrets.
    """
    return {name: value for name, value in environment.items() if is_allowed(name) and not holds_credentials(value)}


def is_allowed(name: str) -> bool:
    """Tell whether a variable passes by its name."""
    if _SECRET.search(name.upper()):
        return False
    return name in ALLOWED or name.startswith(ALLOWED_PREFIXES)


def holds_credentials(value: str) -> bool:
    """Tell whether a value is an address with a user and a password in it."""
    return _WITH_CREDENTIALS.search(value) is not None
