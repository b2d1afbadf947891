"""The allow-list of variables: what a job needs passes, no secret does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.recipes.environment import ALLOWED_PREFIXES, is_allowed, passed_on

SECRETS = [
    "HF_TOKEN", "HF_HUB_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_SECRET", "DATABASE_URL",
    "PGPASSWORD", "STOKER_HOME", "STOKER_DATABASE", "STOKER_NONCE", "OPENAI_API_KEY", "GITHUB_TOKEN", "SSH_AUTH_SOCK",
    "NVIDIA_API_KEY", "NCCL_SECRET", "TRANSFORMERS_PASSWORD", "XDG_SESSION_COOKIE", "hf_token", "LD_PRELOAD",
    "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV", "KUBECONFIG", "HF_AUTH", "WANDB_APIKEY",
]  # fmt: skip
NEEDED = [
    "PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_CACHE",
    "TOKENIZERS_PARALLELISM", "CUDA_VISIBLE_DEVICES", "NCCL_DEBUG", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "MKL_NUM_THREADS", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_HOME", "XDG_CACHE_HOME", "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE", "https_proxy", "NO_PROXY", "WANDB_MODE", "WANDB_PROJECT", "LD_LIBRARY_PATH",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_stays_behind(name):
    assert passed_on({name: "value"}) == {}


@pytest.mark.parametrize("name", NEEDED)
def test_what_training_needs_passes(name):
    assert passed_on({name: "value"}) == {name: "value"}


@pytest.mark.parametrize("address", ["http://user:pw@proxy:3128", "user:pw@proxy:3128", "https://token@host/x"])
def test_an_address_with_credentials_stays_behind(address):
    assert passed_on({"HTTPS_PROXY": address}) == {}


def test_an_address_without_credentials_passes():
    assert passed_on({"HTTPS_PROXY": "http://proxy:3128"}) == {"HTTPS_PROXY": "http://proxy:3128"}


@given(
    prefix=st.sampled_from(ALLOWED_PREFIXES),
    word=st.sampled_from(["TOKEN", "API_KEY", "SECRET", "PASSWORD", "ACCESS_TOKEN", "CREDENTIALS", "PASSPHRASE"]),
    tail=st.sampled_from(["", "_FILE", "_PATH", "_2"]),
)
def test_no_family_of_variables_lets_a_secret_pass(prefix, word, tail):
    assert not is_allowed(prefix + word + tail)
