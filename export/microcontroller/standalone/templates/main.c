/* Checks that the model gives the answers of vectors.c, byte for byte. */
#include <stdio.h>

#include "model.h"

#ifdef MODEL_CLOCK /* counts instructions in an emulator, see cortex_m/startup.c */
extern uint32_t model_clock(void);
#endif

/* The first class whose byte is wrong; MODEL_CLASSES: none. */
static int first_difference(const uint8_t *found, const uint8_t *expected)
{
    int k = 0;
    while (k < MODEL_CLASSES && found[k] == expected[k]) ++k;
    return k;
}

static int check_vector(int number)
{
    uint8_t found[MODEL_CLASSES];
    const uint8_t *expected = model_vector_answers[number];
    if (model_predict(model_vector_pixels[number], found) < 0) return 0;
    const int k = first_difference(found, expected);
    if (k == MODEL_CLASSES) return 1;
    printf("vector %d, class %d: %d instead of %d\n", number, k, found[k], expected[k]);
    return 0;
}

int main(void)
{
#ifdef MODEL_CLOCK
    const uint32_t start = model_clock();
#endif
    for (int i = 0; i < MODEL_VECTORS; ++i)
        if (!check_vector(i)) return 1;
#ifdef MODEL_CLOCK
    printf("%lu ticks per image\n",
           (unsigned long)((model_clock() - start) / MODEL_VECTORS));
#endif
    printf("%d of %d vectors equal\n", MODEL_VECTORS, MODEL_VECTORS);
    return 0;
}
