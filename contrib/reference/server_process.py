import socket
import sys
from multiprocessing import Process


class ServerProcess:
    def __init__(self, ipaddr, port, num):
        self.ipaddr = ipaddr
        self.port = port
        self.num = num

    # what one client gets, in a process of its own
    def server_link(self, conn, addr):
        conn.send("Welcome connect!".encode())

        while True:
            try:
                data = conn.recv(1024)
                if data:
                    print("from {0}:".format(addr), data.decode('utf-8'))
                else:
                    break
            except Exception:
                break

        conn.close()

    # the accept loop
    def server_start(self):
        # IPv4
        s_pro = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        # the port is free again as soon as the server is gone
        s_pro.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s_pro.bind((self.ipaddr, self.port))
        s_pro.listen(self.num)
        print('Waiting link...')
        while True:
            conn, addr = s_pro.accept()
            print("Success connect from ", addr)
            # a process a client, so many clients
            p = Process(target=self.server_link, args=(conn, addr))
            p.start()


if __name__ == '__main__':
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 12345
    ipaddr = sys.argv[2] if len(sys.argv) > 2 else '127.0.0.1'
    server = ServerProcess(ipaddr, port, 5)
    server.server_start()
