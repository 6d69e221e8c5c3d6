/* Dense layer; `bias` has the zero point times the sum of the weights included. With one
   scale for each channel the reference kernel rounds once, otherwise twice. */

typedef struct {
    const int8_t *weights; /* [out_channels][in_channels] */
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t in_channels, out_channels, rounds_once, out_zero, low, high;
} Dense;

/* value times the real factor, halves rounded up; -31 <= shift <= 30. */
static int32_t rescale_once(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t bits = 31 - shift;
    return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << (bits - 1))) >> bits);
}

static void dense(const Dense *d, const int8_t *input, int8_t *output)
{
    const int8_t *weights = d->weights;
    for (int32_t i = 0; i < d->out_channels; ++i, weights += d->in_channels) {
        int32_t sum = d->bias[i];
        for (int32_t k = 0; k < d->in_channels; ++k) sum += weights[k] * input[k];
        sum = d->rounds_once ? rescale_once(sum, d->multiplier[i], d->shift[i])
                             : rescale(sum, d->multiplier[i], d->shift[i]);
        output[i] = (int8_t)clamp(sum + d->out_zero, d->low, d->high);
    }
}
