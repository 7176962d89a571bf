#!/bin/bash
# Starts TGI in its own image with what must not stand in a command line or in `docker inspect`.
set -euo pipefail

# The key that workers send; TGI takes it from API_KEY (launcher/src/main.rs, 3.3.7).
API_KEY="$(cat "${API_KEY_FILE:?}")"
export API_KEY
# An empty token is sent to the hub as one, and refused; none at all is welcome for public models.
if [ -z "${HF_TOKEN:-}" ]; then unset HF_TOKEN; fi

exec "${TGI_ENTRYPOINT:-/tgi-entrypoint.sh}" "$@"
