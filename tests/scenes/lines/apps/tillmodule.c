// A module of the application's own, in C: `till.open_till(port)`.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <arpa/inet.h>
#include <sys/socket.h>

static PyObject *open_till(PyObject *self, PyObject *arguments) {
    int port;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "i", &port))
        return NULL;
    struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int failed = connect(fd, (struct sockaddr *)&peer, sizeof peer); // opened here: open_till
    return PyLong_FromLong(failed ? -1 : fd);
}

static PyMethodDef methods[] = {{"open_till", open_till, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "till", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_till(void) { return PyModule_Create(&module); }
