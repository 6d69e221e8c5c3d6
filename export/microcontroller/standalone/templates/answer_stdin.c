/* Answers images from the standard input; writes seconds of computing to stderr. */
#include <stdio.h>
#include <time.h>

#include "model.h"

int main(void)
{
    static uint8_t pixels[MODEL_PIXELS];
    uint8_t answer[MODEL_CLASSES];
    clock_t ticks = 0;
    while (fread(pixels, MODEL_PIXELS, 1, stdin) == 1) {
        const clock_t start = clock();
        if (model_predict(pixels, answer) < 0) return 1;
        ticks += clock() - start;
        if (fwrite(answer, MODEL_CLASSES, 1, stdout) != 1) return 1;
    }
    fprintf(stderr, "%.9f\n", (double)ticks / CLOCKS_PER_SEC);
    return 0;
}
