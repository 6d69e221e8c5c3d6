/* A function of one byte, such as an activation, as a table of its 256 values. */

typedef struct {
    const int8_t *table;
    int32_t count;
} Table;

static void look_up(const Table *t, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < t->count; ++i) output[i] = t->table[(uint8_t)input[i]];
}
