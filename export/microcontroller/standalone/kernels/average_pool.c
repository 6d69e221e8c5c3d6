/* Average pooling: the mean of what is inside of the image, halves away from zero. */

static int32_t sum_window(const Pooling *p, const int8_t *input, Window w,
                          int32_t channel)
{
    int32_t sum = 0;
    for (int32_t y = w.top; y < w.bottom; ++y)
        for (int32_t x = w.left; x < w.right; ++x)
            sum += input[(y * p->in_width + x) * p->channels + channel];
    return sum;
}

static void average_pool(const Pooling *p, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < p->out_height; ++y)
        for (int32_t x = 0; x < p->out_width; ++x) {
            const Window w = window_at(p, y, x);
            const int32_t count = (w.bottom - w.top) * (w.right - w.left);
            for (int32_t i = 0; i < p->channels; ++i) {
                const int32_t sum = sum_window(p, input, w, i);
                const int32_t half = sum > 0 ? count / 2 : -(count / 2);
                *output++ = (int8_t)clamp((sum + half) / count, p->low, p->high);
            }
        }
}
