/* Product of two tensors; a shorter second operand repeats. */

typedef struct {
    int32_t count, period; /* of elements: of the first operand, of the second */
    int32_t zero_a, zero_b, out_zero, multiplier, shift, low, high;
} Product;

static void multiply(const Product *m, const int8_t *a, const int8_t *b, int8_t *output)
{
    for (int32_t start = 0; start < m->count; start += m->period)
        for (int32_t i = 0; i < m->period; ++i) {
            const int32_t product = (a[start + i] - m->zero_a) * (b[i] - m->zero_b);
            const int32_t scaled = rescale(product, m->multiplier, m->shift);
            output[start + i] = (int8_t)clamp(scaled + m->out_zero, m->low, m->high);
        }
}
