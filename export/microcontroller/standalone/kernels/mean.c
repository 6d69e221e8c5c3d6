/* Mean of each channel over all pixels, rescaled to the output's own scale. */

typedef struct {
    int32_t pixels, channels, in_zero, out_zero, multiplier, shift;
} Mean;

static void mean(const Mean *m, const int8_t *input, int8_t *output)
{
    for (int32_t channel = 0; channel < m->channels; ++channel) {
        int32_t sum = 0;
        for (int32_t i = 0; i < m->pixels; ++i) sum += input[i * m->channels + channel];
        const int32_t scaled =
            rescale(sum - m->pixels * m->in_zero, m->multiplier, m->shift);
        output[channel] = (int8_t)clamp(scaled + m->out_zero, -128, 127);
    }
}
