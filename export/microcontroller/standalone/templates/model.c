/* $comment */
#include "model.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define MODEL_ALIGNED __attribute__((aligned(16)))
#else
#define MODEL_ALIGNED
#endif

const char *const model_labels[MODEL_CLASSES] = {
$labels
};

$kernels
$constants
static int8_t arena[MODEL_ARENA_BYTES] MODEL_ALIGNED;

static int most_likely(const uint8_t *probabilities)
{
    int best = 0;
    for (int k = 1; k < MODEL_CLASSES; ++k)
        if (probabilities[k] > probabilities[best]) best = k;
    return best;
}

int model_predict(const uint8_t *pixels, uint8_t *probabilities)
{
    if (pixels == NULL || probabilities == NULL) return -1;
    const int8_t *const image = (const int8_t *)pixels;
    int8_t *const answer = (int8_t *)probabilities;
$calls
    return most_likely(probabilities);
}

int model_is_certain(const uint8_t *probabilities, int threshold)
{
    return probabilities != NULL && probabilities[most_likely(probabilities)] >= threshold;
}
