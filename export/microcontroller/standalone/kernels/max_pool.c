/* Max-pooling; the largest value of a channel is one window over the whole image. */

static void max_window(const Pooling *p, const int8_t *input, Window w, int8_t *output)
{
    for (int32_t i = 0; i < p->channels; ++i) output[i] = (int8_t)p->low;
    for (int32_t y = w.top; y < w.bottom; ++y)
        for (int32_t x = w.left; x < w.right; ++x) {
            const int8_t *pixel = input + (y * p->in_width + x) * p->channels;
            for (int32_t i = 0; i < p->channels; ++i)
                output[i] = output[i] > pixel[i] ? output[i] : pixel[i];
        }
    for (int32_t i = 0; i < p->channels; ++i)
        output[i] = output[i] > p->high ? (int8_t)p->high : output[i];
}

static void max_pool(const Pooling *p, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < p->out_height; ++y)
        for (int32_t x = 0; x < p->out_width; ++x, output += p->channels)
            max_window(p, input, window_at(p, y, x), output);
}
