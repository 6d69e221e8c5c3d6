package org.tensorflow.lite

import java.io.File
import java.nio.ByteBuffer

/** Keeps what it is given in the file "input" and answers with the bytes of "output". */
class Interpreter(content: ByteBuffer) {
    init {
        check(content.isDirect && content.position() == 0)
    }

    fun run(input: Any, output: Any) {
        val given = input as ByteBuffer
        check(given.isDirect && given.position() == 0)
        File("input").writeBytes(ByteArray(given.remaining()).also { given.get(it) })
        (output as ByteBuffer).put(File("output").readBytes())
        check(output.remaining() == 0)
    }
}
