/* Sum of two tensors of different scales: both are brought to one scale with 20 more
   bits, added and rescaled. A shorter second operand repeats, such as one value for
   each channel. */

typedef struct {
    int32_t count, period; /* of elements: of the first operand, of the second */
    int32_t zero_a, multiplier_a, shift_a;
    int32_t zero_b, multiplier_b, shift_b;
    int32_t out_zero, out_multiplier, out_shift, low, high;
} Addition;

static int8_t add_elements(const Addition *s, int8_t a, int8_t b)
{
    const int32_t scaled_a =
        rescale((a - s->zero_a) * (1 << 20), s->multiplier_a, s->shift_a);
    const int32_t scaled_b =
        rescale((b - s->zero_b) * (1 << 20), s->multiplier_b, s->shift_b);
    const int32_t sum = rescale(scaled_a + scaled_b, s->out_multiplier, s->out_shift);
    return (int8_t)clamp(sum + s->out_zero, s->low, s->high);
}

static void add(const Addition *s, const int8_t *a, const int8_t *b, int8_t *output)
{
    for (int32_t start = 0; start < s->count; start += s->period)
        for (int32_t i = 0; i < s->period; ++i)
            output[start + i] = add_elements(s, a[start + i], b[i]);
}
