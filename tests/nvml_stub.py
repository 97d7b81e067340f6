"""A library libnvidia-ml.so.1 that tells of the GPUs of a file, for machines without any. Built by gcc in a test.

The file, named by NVML_STUB (or /etc/nvml-stub), has one GPU a line, of fields with | between them:
uuid, name, major.minor, MiB, fault, pids with commas. A fault is empty, ecc, remap-pending, remap-failed, retired,
recovery-2, lost (its UUID is still told), gone (not even that) or old (a driver that does not know of health).
"""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
enum { OK = 0, INVALID = 2, UNSUPPORTED = 3, TOO_SMALL = 7, NO_DRIVER = 9, LOST = 15 };
typedef struct { char uuid[96], name[96], fault[32], pids[128]; int major, minor; unsigned long long mib; } gpu_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gi, ci; } process_t;
typedef struct { uint32_t field, scope; int64_t at, latency; uint32_t type, result; uint64_t value; } value_t;
static gpu_t gpus[16];
static unsigned count;
static int is(gpu_t *g, const char *fault) { return !strcmp(g->fault, fault); }

int nvmlInitWithFlags(unsigned flags) {
    const char *path = getenv("NVML_STUB");
    FILE *f = fopen(path ? path : "/etc/nvml-stub", "r");
    char line[512];
    if (!f) return NO_DRIVER;
    for (count = 0; count < 16 && fgets(line, sizeof line, f); count++) {
        gpu_t *g = &gpus[count];
        char *rest = line, *field[6];
        line[strcspn(line, "\n")] = 0;
        for (int i = 0; i < 6; i++) field[i] = rest ? strsep(&rest, "|") : "";
        memset(g, 0, sizeof *g);
        strncpy(g->uuid, field[0], 95);
        strncpy(g->name, field[1], 95);
        sscanf(field[2], "%d.%d", &g->major, &g->minor);
        g->mib = strtoull(field[3], 0, 10);
        strncpy(g->fault, field[4], 31);
        strncpy(g->pids, field[5], 127);
    }
    fclose(f);
    return OK;
}
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) {
    return code == LOST ? "GPU is lost" : code == NO_DRIVER ? "Driver Not Loaded" : "Not Supported";
}
int nvmlDeviceGetCount_v2(unsigned *n) { *n = count; return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, gpu_t **g) {
    if (i >= count) return INVALID;
    *g = &gpus[i];
    return is(*g, "gone") ? LOST : OK;
}
int nvmlDeviceGetUUID(gpu_t *g, char *out, unsigned n) { strncpy(out, g->uuid, n); return OK; }
int nvmlDeviceGetName(gpu_t *g, char *out, unsigned n) { strncpy(out, g->name, n); return is(g, "lost") ? LOST : OK; }
int nvmlDeviceGetMemoryInfo(gpu_t *g, unsigned long long *m) {
    m[0] = g->mib << 20; m[1] = m[0] / 2; m[2] = m[0] - m[1];
    return OK;
}
int nvmlDeviceGetCudaComputeCapability(gpu_t *g, int *a, int *b) { *a = g->major; *b = g->minor; return OK; }
int nvmlDeviceGetComputeRunningProcesses_v3(gpu_t *g, unsigned *n, process_t *out) {
    char copy[128], *rest = copy, *word;
    unsigned found = 0;
    strcpy(copy, g->pids);
    while ((word = strsep(&rest, ","))) if (*word) {
        if (out && found < *n) { memset(&out[found], 0, sizeof *out); out[found].pid = atoi(word); }
        found++;
    }
    if (found && !out) { *n = found; return TOO_SMALL; }
    *n = found;
    return OK;
}
int nvmlDeviceGetTotalEccErrors(gpu_t *g, unsigned kind, unsigned counter, unsigned long long *n) {
    if (is(g, "old") || !*g->fault) return UNSUPPORTED;  /* as on a GPU without ECC */
    *n = is(g, "ecc") && kind == 1 && counter == 0 ? 3 : 0;
    return OK;
}
int nvmlDeviceGetRemappedRows(gpu_t *g, unsigned *c, unsigned *u, unsigned *pending, unsigned *failed) {
    if (is(g, "old")) return UNSUPPORTED;
    *c = 1; *u = 2; *pending = is(g, "remap-pending"); *failed = is(g, "remap-failed");
    return OK;
}
int nvmlDeviceGetRetiredPagesPendingStatus(gpu_t *g, unsigned *pending) {
    *pending = is(g, "retired");
    return is(g, "old") ? UNSUPPORTED : OK;
}
int nvmlDeviceGetFieldValues(gpu_t *g, int n, value_t *values) {
    for (int i = 0; i < n; i++) {
        values[i].result = values[i].field == 230 && !is(g, "old") ? OK : UNSUPPORTED;
        *(unsigned *)&values[i].value = is(g, "recovery-2") ? 2 : 0;
    }
    return OK;
}
"""


def build(folder: Path) -> Path:
    """The library, in ``folder``; skips where there is no gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    source, library = folder / "nvml.c", folder / "libnvidia-ml.so.1"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", str(library), str(source)], check=True)
    return library
